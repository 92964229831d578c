"""Chooses the door that the settings ask for."""

from gateway.auth.passthrough import Passthrough
from gateway.auth.viewer import Authenticator, Viewer
from gateway.errors import ConfigurationError
from gateway.settings import InboundAuth, Settings, UpstreamIdentity


class ServiceForEveryone:
    """Every caller is served with the gateway's own account (``GATEWAY_INBOUND_AUTH=none``)."""

    _viewer = Viewer(None)

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return the one viewer there is."""
        return self._viewer


def build_authenticator(settings: Settings) -> Authenticator:
    """Return the door that ``settings`` ask for; ConfigurationError where they leave it open unsaid."""
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        secret = settings.cache_secret
        return Passthrough(None if secret is None else secret.get_secret_value().encode())
    if settings.inbound_auth is InboundAuth.NONE:
        return ServiceForEveryone()
    problem = (
        "GATEWAY_INBOUND_AUTH is not set: in service mode every caller would read with the gateway's account. "
        "Set it to `none` if something in front of the gateway lets the right callers in, "
        "or set GATEWAY_UPSTREAM_IDENTITY to `passthrough`."
    )
    raise ConfigurationError([problem])
