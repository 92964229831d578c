"""The settings: one row per environment variable, in groups, checked once at the start."""

from gateway.settings.auth import AuthSettings, InboundAuth
from gateway.settings.catalogue import GROUPS, Setting, Settings, catalogue
from gateway.settings.graphql import CostMode, GraphQLSettings, LimitSettings, TrustMode
from gateway.settings.group import PREFIX, words
from gateway.settings.live import LiveSettings
from gateway.settings.load import load_settings, unknown_variables
from gateway.settings.server import CsrfMode, HttpSettings, LogFormat, LogLevel, ServerSettings, TelemetrySettings
from gateway.settings.upstream import CacheSettings, UpstreamAuth, UpstreamIdentity, UpstreamSettings

__all__ = [
    "GROUPS",
    "PREFIX",
    "AuthSettings",
    "CacheSettings",
    "CostMode",
    "CsrfMode",
    "GraphQLSettings",
    "HttpSettings",
    "InboundAuth",
    "LimitSettings",
    "LiveSettings",
    "LogFormat",
    "LogLevel",
    "ServerSettings",
    "Setting",
    "Settings",
    "TelemetrySettings",
    "TrustMode",
    "UpstreamAuth",
    "UpstreamIdentity",
    "UpstreamSettings",
    "catalogue",
    "load_settings",
    "unknown_variables",
    "words",
]
