"""Who calls: the Viewer that the rest of the gateway sees, and the protocol that finds it."""

from typing import Protocol

import msgspec

EVERYONE = "everyone"
"""The caller's name where callers cannot be distinguished."""

_NO_SCOPES: frozenset[str] = frozenset()


class Viewer(msgspec.Struct, frozen=True):
    """An authenticated caller."""

    authorization: str | None
    """The header sent upstream for the caller; None means the gateway's own account."""
    caller: str = EVERYONE
    """Distinguishes callers in the log and in rate limits. It is no credential and does not reveal one."""
    scopes: frozenset[str] = _NO_SCOPES
    """What the caller may do, according to the issuer of the credentials."""
    expires: float | None = None
    """When the credentials expire, in seconds since 1970; None: unknown, or never."""

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential."""
        return f"Viewer({self.caller!r}, scopes={self.scopes!r}, expires={self.expires!r})"


class Authenticator(Protocol):
    """Turns credentials into a Viewer. It takes strings, not a request, so that any protocol can use it."""

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:
        """Return the viewer; raise LoginRequired or another GatewayError that rejects the caller.

        ``authorization`` and ``api_key`` are the values of the headers ``Authorization`` and ``X-API-Key``, None where
        there is none; ``address`` is the client's IP address, None where it is unknown.
        """

    async def aclose(self) -> None:
        """Close connections, if there are any."""
