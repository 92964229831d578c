"""Authentication: from a caller's credentials to a Viewer, and how often a caller may try and ask."""

from gateway.auth.authenticator import auth_metrics, build_authenticator
from gateway.auth.challenges import LoginRequired, ScopeRequired
from gateway.auth.viewer import EVERYONE, Authenticator, Viewer

__all__ = [
    "EVERYONE",
    "Authenticator",
    "LoginRequired",
    "ScopeRequired",
    "Viewer",
    "auth_metrics",
    "build_authenticator",
]
