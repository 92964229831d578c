"""Where calls to the REST API go: to its address, or through the proxy of the settings, and nowhere else."""

import asyncio
import base64
import os
import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import validate
from gateway.auth import Viewer
from gateway.errors import ConfigurationError, NoDescriptorLeft
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.upstream.client import CallContext
from gateway.upstream.transports.circuit_breaker import CircuitState
from tests.harness import Gateway, StartGateway, build_upstream, settings, with_account
from tests.http1.raw_server import Authority, RawServer, answer

THREAD = '{ thread(id: "th-1") { id } }'
BODY = b'{"id": "th-1"}'
FOUND = {"data": {"thread": {"id": "th-1"}}}


def passthrough(start: StartGateway, **given: Any) -> Gateway:
    return start({"authorization": "Bearer of-the-caller"}, upstream_identity="passthrough", **given)


async def ask(gateway: Gateway) -> Any:
    """Ask for the thread in a thread, so that this test's own servers can respond."""
    return await asyncio.to_thread(gateway.query, THREAD)


def codes(answered: Any) -> list[str]:
    return [error["extensions"]["code"] for error in answered.get("errors", [])]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("route", "target"), [("thread", "/api/v1/thread/th-1"), ("token", "/api/v1/token")])
def test_a_redirect_is_not_followed(
    start: StartGateway, sandbox: Sandbox, status: int, route: str, target: str
) -> None:
    elsewhere = Sandbox()
    with BackgroundServer(sandbox_config(elsewhere.app)) as server:
        sandbox.faults.add(Fault(route, status=status, headers={"location": server.url + target}))
        assert len(codes(start(upstream_retries=0).query(THREAD))) == 1
    assert sandbox.count(route) == 1
    assert list(elsewhere.calls) == []


async def test_a_cookie_is_not_kept(start: StartGateway) -> None:
    """The next call may be another caller's."""
    async with RawServer() as server:
        server.serving(lambda _: answer(BODY, headers=b"set-cookie: session=of-the-caller; path=/\r\n"))
        gateway = passthrough(start, upstream_url=server.url)
        for _ in range(2):
            assert await ask(gateway) == FOUND
    assert len(server.requests) == 2
    assert [request for request in server.requests if b"cookie" in request.lower()] == []


# proxies


@pytest.fixture
def proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Let every proxy variable name a server that must see no connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for spelled in (name, name.lower()):
                monkeypatch.setenv(spelled, f"http://127.0.0.1:{listener.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield listener


@pytest.mark.parametrize("identity", ["service", "passthrough"])
def test_proxy_variables_of_the_environment_are_not_read(
    proxy_of_the_environment: socket.socket, start: StartGateway, sandbox: Sandbox, identity: str
) -> None:
    """The call and, with the gateway's own account, the login."""
    gateway = start() if identity == "service" else passthrough(start)
    gateway.query(THREAD)
    assert sandbox.count("thread") == 1
    with pytest.raises(BlockingIOError):
        proxy_of_the_environment.accept()


async def test_proxy_variables_of_the_environment_are_not_read_for_https(
    proxy_of_the_environment: socket.socket, start: StartGateway, authority: Authority
) -> None:
    async with RawServer(authority.server) as server:
        server.serving(lambda _: answer(BODY))
        ca_file = authority.folder / "root.pem"
        assert await ask(passthrough(start, upstream_url=server.url, upstream_ca_file=ca_file)) == FOUND
    with pytest.raises(BlockingIOError):
        proxy_of_the_environment.accept()


CREDENTIALS = b"\r\nproxy-authorization: Basic " + base64.b64encode(b"user:pass/word") + b"\r\n"


def proxy_url(proxy: RawServer) -> str:
    return f"http://user:pass%2Fword@localhost:{proxy.port}"


async def test_calls_go_through_the_proxy_of_the_settings(start: StartGateway) -> None:
    async with RawServer() as proxy:
        proxy.serving(lambda _: answer(BODY))
        gateway = passthrough(start, upstream_url="http://api.example/base", upstream_proxy=proxy_url(proxy))
        assert await ask(gateway) == FOUND
        (request,) = proxy.requests
        assert request.startswith(
            b"GET http://api.example:80/base/api/v1/thread/th-1 HTTP/1.1\r\nhost: api.example\r\n"
        )
        assert CREDENTIALS in request


async def test_https_calls_go_through_a_tunnel(start: StartGateway, authority: Authority) -> None:
    async with RawServer() as proxy:
        gateway = passthrough(
            start,
            upstream_url="https://localhost",
            upstream_proxy=proxy_url(proxy),
            upstream_ca_file=authority.folder / "root.pem",
        )
        asked = asyncio.create_task(ask(gateway))
        peer = await proxy.accept()
        connect = await peer.request()
        assert connect.startswith(b"CONNECT localhost:443 HTTP/1.1\r\n")
        assert CREDENTIALS in connect
        peer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.start_tls(authority.server)
        request = await peer.request()
        assert b"proxy-authorization" not in request
        peer.write(answer(BODY))
        assert await asked == FOUND


async def test_a_proxy_that_refuses_is_an_unavailable_rest_api(start: StartGateway) -> None:
    async with RawServer() as proxy:
        proxy.serving(lambda _: b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        gateway = passthrough(start, upstream_url="https://localhost", upstream_proxy=proxy_url(proxy))
        answered = await ask(gateway)
    assert codes(answered) == ["UPSTREAM_UNAVAILABLE"]
    assert "pass" not in str(answered)


# TLS


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_authorities_of_the_settings_are_trusted(
    start: StartGateway, authority: Authority, trusted: bool
) -> None:
    given = {"upstream_ca_file": authority.folder / "root.pem"} if trusted else {}
    async with RawServer(authority.server) as server:
        accepted = asyncio.create_task(server.accept())
        asked = asyncio.create_task(ask(passthrough(start, upstream_url=server.url, upstream_retries=0, **given)))
        if trusted:
            server.answering(await accepted, lambda _: answer(BODY))
            assert await asked == FOUND
        else:
            with pytest.raises(ssl.SSLError):
                await accepted
            assert codes(await asked) == ["UPSTREAM_UNAVAILABLE"]


@pytest.mark.parametrize("shown", [True, False])
async def test_the_client_certificate_of_the_settings_is_shown(
    start: StartGateway, authority: Authority, shown: bool
) -> None:
    """The REST API refuses connections without one."""
    file = authority.folder / "client.pem"
    given = {"upstream_client_cert_file": file, "upstream_client_key_file": file} if shown else {}
    ca_file = authority.folder / "root.pem"
    async with RawServer(authority.server_that_asks) as server:
        accepted = asyncio.create_task(server.accept())
        gateway = passthrough(start, upstream_url=server.url, upstream_ca_file=ca_file, upstream_retries=0, **given)
        asked = asyncio.create_task(ask(gateway))
        if shown:
            server.answering(await accepted, lambda _: answer(BODY))
            assert await asked == FOUND
        else:
            with pytest.raises(ssl.SSLError):
                await accepted
            assert codes(await asked) == ["UPSTREAM_UNAVAILABLE"]


def encrypted_key(folder: Path, authority: Authority) -> Path:
    """Return the client's key behind a password."""
    path = folder / "encrypted.pem"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:word", "-out", str(path)]
    subprocess.run([*command, "-in", str(authority.folder / "client.pem")], check=True)  # noqa: S603 - our own arguments
    return path


@pytest.mark.parametrize("wrong", ["no PEM", "the key of another", "encrypted"])
def test_a_client_certificate_that_cannot_be_used_is_refused_at_the_start(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    """An encrypted key must not make OpenSSL ask for a password on the terminal."""
    certificate = authority.folder / "client.pem"
    key = {
        "no PEM": Path(__file__),
        "the key of another": authority.folder / "server.pem",
        "encrypted": encrypted_key(tmp_path, authority),
    }[wrong]
    chosen = settings(
        upstream_client_cert_file=certificate,
        upstream_client_key_file=key,
        upstream_identity="passthrough",
    )
    with pytest.raises(ConfigurationError) as caught:
        validate(chosen)
    (problem,) = caught.value.problems
    assert problem.startswith("GATEWAY_UPSTREAM_CLIENT_CERT_FILE and GATEWAY_UPSTREAM_CLIENT_KEY_FILE: ")
    assert str(key) in problem


def test_a_file_of_authorities_without_a_certificate_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate(settings(upstream_ca_file=__file__, upstream_identity="passthrough"))
    assert caught.value.problems == (f"GATEWAY_UPSTREAM_CA_FILE: {__file__} holds no PEM certificate.",)


# this process


@pytest.mark.parametrize("identity", ["passthrough", "service"])
async def test_being_out_of_file_descriptors_is_no_failure_of_the_route_or_login(
    upstream: str, caplog: pytest.LogCaptureFixture, identity: str
) -> None:
    given = {"upstream_identity": identity, "breaker_min_volume": 1, "upstream_retries": 0}
    built = build_upstream(settings(**{"upstream_url": upstream, **with_account(**given)}))
    viewer = Viewer("Bearer x" if identity == "passthrough" else None)
    async with built.client as client:
        caller = CallContext(viewer, asyncio.get_running_loop().time() + 60)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for _ in range(3):
                with pytest.raises(NoDescriptorLeft) as caught:
                    await client.thread(caller, "th-1")
                assert caught.value.extensions == {"code": "OUT_OF_DESCRIPTORS", "retryAfter": 1.0}
                assert "REST API" not in caught.value.message
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if identity == "service":
            assert await client.thread(caller, "th-1"), "the login waits for no pause"
    assert {circuit.state for circuit in built.breaker.circuits} == {CircuitState.CLOSED}
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["out of file descriptors: REST calls fail"], "once for all calls"
