"""From a request's headers to a Viewer: who calls, and what is sent upstream for them."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import ConfigurationError, Unauthenticated
from gateway.settings import InboundAuth, Settings, UpstreamIdentity


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who calls. ``authorization`` is the header sent upstream for them; None means the gateway's own account."""

    authorization: str | None = field(repr=False)


class Authenticator(Protocol):
    """Turns the ``Authorization`` header of a request into a Viewer, or raises Unauthenticated."""

    def authenticate(self, authorization: str | None) -> Viewer:
        """Return the viewer; ``authorization`` is the header's value, None where there is none."""


class Passthrough:
    """The caller's own header goes upstream as it came; a call without one, or with an unsendable one, goes nowhere."""

    def authenticate(self, authorization: str | None) -> Viewer:
        """Return a viewer that carries the header."""
        if not authorization or not authorization.strip() or not _sendable(authorization):
            raise Unauthenticated("This call needs an Authorization header: Basic or Bearer, as for the REST API.")
        return Viewer(authorization)


def _sendable(value: str) -> bool:
    """Whether a header can carry ``value`` unchanged (RFC 9110, section 5.5)."""
    return value.isascii() and value.isprintable()


class ServiceForEveryone:
    """Every caller is served with the gateway's own account (``GATEWAY_INBOUND_AUTH=none``)."""

    _viewer = Viewer(None)

    def authenticate(self, authorization: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return the one viewer there is."""
        return self._viewer


def build_authenticator(settings: Settings) -> Authenticator:
    """Return the door that ``settings`` ask for; ConfigurationError where they leave it open unsaid."""
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        return Passthrough()
    if settings.inbound_auth is InboundAuth.NONE:
        return ServiceForEveryone()
    problem = (
        "GATEWAY_INBOUND_AUTH is not set: in service mode every caller would read with the gateway's account. "
        "Set it to `none` if something in front of the gateway lets the right callers in, "
        "or set GATEWAY_UPSTREAM_IDENTITY to `passthrough`."
    )
    raise ConfigurationError([problem])
