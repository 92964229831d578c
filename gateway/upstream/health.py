"""What is known of the REST API and of the gateway's account there, without a call to find out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.upstream.breaker import Circuit


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """What the calls so far have shown.

    ``circuits`` returns those of the routes called so far; ``rejected`` whether a rejected login of the gateway's own
    account is remembered, which in passthrough mode is never so.
    """

    circuits: Callable[[], Sequence[Circuit]] = tuple
    rejected: Callable[[], bool] = _never

    def shut_off(self) -> list[str]:
        """Return the templates of the routes that no call is let through to now."""
        return sorted(circuit.name for circuit in self.circuits() if circuit.is_shut)

    def is_cut_off(self) -> bool:
        """Return whether none of the routes called so far lets a call through."""
        circuits = self.circuits()
        return bool(circuits) and all(circuit.is_shut for circuit in circuits)


NOTHING_KNOWN = UpstreamHealth()
