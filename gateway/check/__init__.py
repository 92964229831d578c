"""Checks whether the settings work: what the gateway needs is there, and the credentials are tried exactly once."""

from gateway.check.checks import check
from gateway.check.drift import DriftRequest
from gateway.check.finding import Finding, Level

__all__ = ["DriftRequest", "Finding", "Level", "check"]
