"""The door of passthrough mode: callers bring the REST API's own credentials, and it alone judges them."""

import hashlib
import secrets

from gateway.auth.challenges import LoginRequired
from gateway.auth.credentials import normal_form
from gateway.auth.viewer import Viewer


class Passthrough:
    """The caller's own header goes upstream as it came; a call without one, or with an unsendable one, goes nowhere.

    ``secret`` keys the hash that names a caller: gateways that share a rate limit must share it.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = hashlib.sha256(secret or secrets.token_bytes(32)).digest()

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return a viewer that carries the header."""
        if not authorization or not authorization.strip() or not _sendable(authorization):
            raise LoginRequired("This call needs an Authorization header: Basic or Bearer, as for the REST API.")
        return Viewer(authorization, self._name(authorization))

    def _name(self, authorization: str) -> str:
        """Hash the credential: keyed, or else whoever reads the log could try passwords against it."""
        digest = hashlib.blake2b(normal_form(authorization), key=self._secret, digest_size=8, person=b"caller")
        return f"header:{digest.hexdigest()}"

    async def aclose(self) -> None:
        """Do nothing."""


def _sendable(value: str) -> bool:
    """Whether a header can carry ``value`` unchanged (RFC 9110, section 5.5)."""
    return value.isascii() and value.isprintable()
