"""The order of everything a REST call passes through, from the client down to the socket."""

from datetime import timedelta

import httpx
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from gateway.settings import Settings, UpstreamAuth, UpstreamIdentity
from gateway.upstream.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.body import BodyReader
from gateway.upstream.client import UpstreamClient
from gateway.upstream.concurrency import ConcurrencyLimit
from gateway.upstream.routes import TOKEN_PATH
from gateway.upstream.token import TokenAccount, TokenLogin, token_request


def build_client(settings: Settings) -> UpstreamClient:
    """Return the REST client that ``settings`` describe. It opens no connection before its first call."""
    timeout = httpx.Timeout(settings.upstream_read_timeout, connect=settings.upstream_connect_timeout)
    return UpstreamClient(build_transport(settings, timeout), str(settings.upstream_url), timeout)


def build_transport(settings: Settings, timeout: httpx.Timeout) -> httpx.AsyncBaseTransport:
    """Return the stack: the account outermost, so that all below it sees the request as it goes out."""
    transport: httpx.AsyncBaseTransport = _socket(settings)
    transport = BodyReader(transport, settings.upstream_max_body)
    transport = ConcurrencyLimit(transport, settings.upstream_max_concurrency)
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        return BasicLoginGuard(transport)
    username, password = _service_account(settings)
    if settings.upstream_auth is UpstreamAuth.BASIC:
        return BasicAccount(BasicLoginGuard(transport, settings.upstream_login_pause), username, password)
    url = str(settings.upstream_url).rstrip("/") + TOKEN_PATH
    login = TokenLogin(transport, token_request(url, username, password, timeout), settings.upstream_login_pause)
    return TokenAccount(transport, login)


def _socket(settings: Settings) -> httpx.AsyncBaseTransport:
    """Return the transport that owns the connections: pyreqwest, chosen by tests/bench/transports.py."""
    builder = (
        ClientBuilder()
        .connect_timeout(timedelta(seconds=settings.upstream_connect_timeout))
        .read_timeout(timedelta(seconds=settings.upstream_read_timeout))
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
    )
    if settings.upstream_ca_file is not None:
        builder = builder.add_root_certificate_pem(settings.upstream_ca_file.read_bytes())
    return HttpxTransport(builder.build())


def _service_account(settings: Settings) -> tuple[str, str]:
    username, password = settings.upstream_username, settings.upstream_password
    if username is None or password is None:
        raise ValueError("Settings checks that service mode has an account")
    return username, password.get_secret_value()
