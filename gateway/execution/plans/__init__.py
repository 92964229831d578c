"""Compiled plans: how an ordinary query is answered without the reference executor."""
