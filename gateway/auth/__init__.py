"""The door: from what a caller shows to a Viewer, who calls and what is sent upstream for them."""

from gateway.auth.authenticator import build_authenticator
from gateway.auth.challenges import LoginRequired, ScopeRequired
from gateway.auth.viewer import EVERYONE, Authenticator, Viewer

__all__ = ["EVERYONE", "Authenticator", "LoginRequired", "ScopeRequired", "Viewer", "build_authenticator"]
