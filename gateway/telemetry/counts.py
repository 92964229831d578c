"""Counts events by name: as cheap as an integer, and read by whoever wants to know."""

from collections import Counter


class Counts(Counter[str]):
    """How often something happened since the start, by name."""
