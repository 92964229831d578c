"""Who calls: what the rest of the gateway knows of them, and the seam that finds it out."""

from dataclasses import dataclass, field
from typing import Protocol

EVERYONE = "everyone"
"""The caller's name where callers are not told apart."""

_NO_SCOPES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who calls, once they were let in."""

    authorization: str | None = field(repr=False)
    """The header sent upstream for them; None means the gateway's own account."""
    caller: str = EVERYONE
    """Tells callers apart, in the log and in rate limits; never a credential, nor anything that leads back to one."""
    scopes: frozenset[str] = _NO_SCOPES
    """What they may do, as whoever issued their credentials says."""


class Authenticator(Protocol):
    """Turns what a caller shows into a Viewer. Serves every way in alike: it knows texts, and no kind of request."""

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:
        """Return the viewer; raise LoginRequired, or what else keeps them out.

        ``authorization`` and ``api_key`` are the values of the headers ``Authorization`` and ``X-API-Key``, None where
        there is none; ``address`` is the client's IP address, None where it is unknown.
        """

    async def aclose(self) -> None:
        """Let go of connections, where there are any."""
