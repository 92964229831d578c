"""Drift: where the REST API differs from what the contract says, found in its responses."""
