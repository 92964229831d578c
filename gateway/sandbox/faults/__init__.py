"""What goes wrong on request."""

from gateway.sandbox.faults.fault import Fault, Faults

__all__ = ["Fault", "Faults"]
