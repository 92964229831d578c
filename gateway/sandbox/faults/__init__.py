"""Faults on request: what they are, where they hold requests, and how they change a body."""

from gateway.sandbox.faults.fault import Fault, Faults

__all__ = ["Fault", "Faults"]
