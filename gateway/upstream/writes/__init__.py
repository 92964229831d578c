"""Writes: each goes out at most once, and its answer says what is known of it, never more."""
