"""The order of everything a REST call passes through, from the client down to the socket."""

import ssl

import httpx

from gateway.errors import ConfigurationError
from gateway.settings import Settings, UpstreamAuth, UpstreamIdentity
from gateway.upstream.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.client import UpstreamClient
from gateway.upstream.concurrency import ConcurrencyLimit
from gateway.upstream.connections import Connections
from gateway.upstream.routes import TOKEN_PATH
from gateway.upstream.token import TokenAccount, TokenLogin, token_request


def build_client(settings: Settings) -> UpstreamClient:
    """Return the REST client that ``settings`` describe. It opens no connection before its first call."""
    timeout = httpx.Timeout(settings.upstream_read_timeout, connect=settings.upstream_connect_timeout)
    return UpstreamClient(build_transport(settings, timeout), str(settings.upstream_url), timeout)


def build_transport(settings: Settings, timeout: httpx.Timeout) -> httpx.AsyncBaseTransport:
    """Return the stack: the account outermost, so that all below it sees the request as it goes out."""
    transport: httpx.AsyncBaseTransport = _connections(settings)
    transport = ConcurrencyLimit(transport, settings.upstream_max_concurrency)
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        return BasicLoginGuard(transport)
    username, password = _service_account(settings)
    if settings.upstream_auth is UpstreamAuth.BASIC:
        return BasicAccount(BasicLoginGuard(transport, settings.upstream_login_pause), username, password)
    url = str(settings.upstream_url).rstrip("/") + TOKEN_PATH
    login = TokenLogin(transport, token_request(url, username, password, timeout), settings.upstream_login_pause)
    return TokenAccount(transport, login)


def _connections(settings: Settings) -> Connections:
    if settings.upstream_ca_file is None:
        return Connections(settings.upstream_max_body)
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(settings.upstream_ca_file)
    except ssl.SSLError as exc:
        problem = f"GATEWAY_UPSTREAM_CA_FILE: {settings.upstream_ca_file} holds no PEM certificate."
        raise ConfigurationError([problem]) from exc
    return Connections(settings.upstream_max_body, context)


def _service_account(settings: Settings) -> tuple[str, str]:
    username, password = settings.upstream_username, settings.upstream_password
    if username is None or password is None:
        raise ValueError("Settings checks that service mode has an account")
    return username, password.get_secret_value()
