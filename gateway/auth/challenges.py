"""Errors that reject a caller, with the challenge that says which credentials are needed."""

from typing import Literal, TypeAlias

from gateway.errors import Forbidden, Unauthenticated

REALM = 'realm="gochat-gateway"'
BEARER = f"Bearer {REALM}"


class LoginRequired(Unauthenticated):
    """No credentials, or wrong ones; ``challenge`` is the header ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""

    def __init__(self, message: str, challenge: str = BEARER) -> None:
        super().__init__(message)
        self.challenge = challenge


class ScopeRequired(Forbidden):
    """The caller is known but lacks a scope; ``challenge`` names the scopes (RFC 6750, section 3.1)."""

    def __init__(self, scopes: frozenset[str]) -> None:
        names = " ".join(sorted(scopes))
        super().__init__(f"This needs the scope {names}.")
        self.challenge = f'{BEARER}, error="insufficient_scope", scope="{names}"'


Reason: TypeAlias = Literal[
    "API key",
    "API key expired",
    "algorithm",
    "claim",
    "claim aud",
    "claim exp",
    "claim iat",
    "claim iss",
    "claim missing",
    "claim nbf",
    "claim sub",
    "expired",
    "header",
    "no token",
    "signature",
    "too long",
    "type",
    "unknown key",
]
"""Why credentials are refused."""


class CredentialsRefused(Exception):
    """The credentials are wrong. ``reason`` is for the operator only: the response must not help an attacker."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
