"""Authentication in passthrough mode: callers send credentials of the REST API, and only the REST API checks them."""

import hashlib
import secrets
from base64 import b64decode

from gateway.auth.challenges import LoginRequired
from gateway.auth.viewer import Viewer


class PassthroughAuthenticator:
    """Passes the caller's own header upstream unchanged; rejects a request that has none, or one that cannot be sent.

    ``secret`` keys the hash that names a caller: gateways that share a rate limit must share it.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        key = hashlib.sha256(secret or secrets.token_bytes(32)).digest()
        self._hash = hashlib.blake2b(key=key, digest_size=8, person=b"caller")

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return a viewer that carries the header."""
        if not authorization or not authorization.strip() or not is_sendable(authorization):
            raise LoginRequired("This call needs an Authorization header: Basic or Bearer, as for the REST API.")
        return Viewer(authorization, self._name(authorization))

    def _name(self, authorization: str) -> str:
        """Hash the credential with a key: without it, a reader of the log could test passwords against the hash."""
        digest = self._hash.copy()
        digest.update(normalized(authorization))
        return f"header:{digest.hexdigest()}"

    async def aclose(self) -> None:
        """Do nothing."""


def normalized(authorization: str) -> bytes:
    """Return the same bytes for every spelling of a header ``Authorization``, so that one caller cannot pose as many.

    For Basic these are the decoded name and password (RFC 7617). Decoding is as lenient as any server may be: it skips
    characters that are not Base64 and needs no padding.
    """
    scheme, _, credential = authorization.strip().partition(" ")
    scheme, credential = scheme.lower(), credential.strip()
    if scheme == "basic":
        try:
            return b"basic:" + b64decode(credential + "==")
        except ValueError:
            pass  # it still goes upstream, and the REST API decides
    return f"{scheme} {credential}".encode()


def is_sendable(value: str) -> bool:
    """Whether a header can carry ``value`` unchanged (RFC 9110, section 5.5)."""
    return value.isascii() and value.isprintable()
