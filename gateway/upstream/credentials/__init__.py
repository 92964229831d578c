"""Authenticates REST calls without locking the account."""
