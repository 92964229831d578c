"""How a caller is kept out: the errors that come with a challenge, which says what would let them in."""

from gateway.errors import Forbidden, Unauthenticated

REALM = 'realm="gochat-gateway"'
BEARER = f"Bearer {REALM}"


class LoginRequired(Unauthenticated):
    """No credentials, or wrong ones; ``challenge`` is the header ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""

    def __init__(self, message: str, challenge: str = BEARER) -> None:
        super().__init__(message)
        self.challenge = challenge


class ScopeRequired(Forbidden):
    """The caller is known, and may not do this; ``challenge`` names the scopes (RFC 6750, section 3.1)."""

    def __init__(self, scopes: frozenset[str]) -> None:
        names = " ".join(sorted(scopes))
        super().__init__(f"This needs the scope {names}.")
        self.challenge = f'{BEARER}, error="insufficient_scope", scope="{names}"'


class CredentialsRefused(Exception):
    """Credentials are wrong. ``reason`` is for the operator alone: whoever tries learns nothing from an answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
