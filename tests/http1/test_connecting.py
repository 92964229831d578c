"""How a connection comes about: addresses, timeouts, descriptors, TLS, and the proxy."""

import asyncio
import base64
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.http1 import (
    ConnectFailed,
    ConnectionBroken,
    ConnectTimedOut,
    OutOfDescriptors,
    Pool,
    PoolSettings,
    Request,
)
from gateway.http1.connector import Address, Resolve, interleaved
from gateway.http1.origin import Origin
from gateway.http1.proxy import Proxy
from tests.http1.raw_server import Authority, Peer, RawServer, answer, answer_to
from tests.http1.road import until

GET = Request("GET", "/a")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def refusing_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def addresses(*found: Address) -> Resolve:
    async def resolve(host: str, port: int) -> list[Address]:  # noqa: ARG001 - whatever is asked
        return list(found)

    return resolve


# addresses


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_localhost_is_reached_by_the_family_that_answers(
    stack: AsyncExitStack, family: socket.AddressFamily
) -> None:
    server = await stack.enter_async_context(RawServer(family=family))
    server.serving()
    known = addresses((socket.AF_INET6, ("::1", server.port)), (socket.AF_INET, ("127.0.0.1", server.port)))
    pool = Pool(server.url, resolver=known)
    stack.push_async_callback(pool.aclose)
    assert (await pool.send(GET)).body == b"/a"


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(stack: AsyncExitStack, stalled: int) -> None:
    server = await stack.enter_async_context(RawServer())
    server.serving()
    known = addresses((socket.AF_INET, ("127.0.0.1", stalled)), (socket.AF_INET, ("127.0.0.1", server.port)))
    pool = Pool(server.url, resolver=known)
    stack.push_async_callback(pool.aclose)
    assert (await pool.send(GET)).body == b"/a"


async def test_an_address_literal(stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(RawServer(family=socket.AF_INET6))
    server.serving()
    pool = Pool(f"http://[::1]:{server.port}")
    stack.push_async_callback(pool.aclose)
    assert (await pool.send(GET)).body == b"/a"
    assert b"host: [::1]:%d\r\n" % server.port in server.requests[0]


def test_families_take_turns() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    found = [(six, ("a",)), (six, ("b",)), (six, ("c",)), (four, ("d",)), (four, ("e",))]
    assert [address for _, (address,) in interleaved(found)] == ["a", "d", "b", "e", "c"]


async def test_the_host_is_resolved_for_each_connection(stack: AsyncExitStack) -> None:
    servers = [await stack.enter_async_context(RawServer()) for _ in range(2)]
    known: list[list[Address]] = [[(socket.AF_INET, ("127.0.0.1", server.port))] for server in servers]

    async def resolve(host: str, port: int) -> list[Address]:  # noqa: ARG001 - whatever is asked
        return known.pop(0)

    pool = Pool("http://moving.example", resolver=resolve)
    stack.push_async_callback(pool.aclose)
    for server in servers:
        server.serving(lambda _: answer(headers=b"connection: close\r\n"))
        await pool.send(GET)
        assert len(server.requests) == 1


@pytest.mark.parametrize("number", [0, 2])
async def test_no_address_that_answers(number: int) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # it does not listen, and nobody else gets its port
        found = [(socket.AF_INET, refusing.getsockname())] * number
        pool = Pool("http://nowhere.example", resolver=addresses(*found))
        with pytest.raises(ConnectFailed) as caught:
            await pool.send(GET)
    assert str(caught.value) == "No connection could be opened."
    assert pool.state().open == 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..example"])
async def test_a_host_that_does_not_exist(host: str) -> None:
    with pytest.raises(ConnectFailed):
        await Pool(f"http://{host}").send(GET)


@pytest.mark.parametrize("addresses_", [1, 2])
async def test_the_connect_timeout_bounds_all_addresses(stalled: int, addresses_: int) -> None:
    known = addresses(*[(socket.AF_INET, ("127.0.0.1", stalled))] * addresses_)
    pool = Pool("http://stalled.example", PoolSettings(connect_timeout=0.1), resolver=known)
    with pytest.raises(ConnectTimedOut) as caught:
        await pool.send(GET)
    assert not caught.value.request_sent
    with pytest.raises(ConnectTimedOut):
        await pool.send(Request("GET", "/a", connect_timeout=0.05))


async def test_a_call_cancelled_while_it_connects_gives_its_slot_back(stalled: int) -> None:
    pool = Pool(f"http://127.0.0.1:{stalled}", PoolSettings(max_connections=1))
    for _ in range(2):
        call = asyncio.create_task(pool.send(GET))
        await asyncio.sleep(0)
        assert pool.state().waiting == 0
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_being_out_of_descriptors_is_an_error_of_its_own(stack: AsyncExitStack, host: str) -> None:
    server = await stack.enter_async_context(RawServer())
    server.serving()
    pool = Pool(f"http://{host}:{server.port}")
    stack.push_async_callback(pool.aclose)
    await asyncio.get_running_loop().getaddrinfo(host, 80)  # from now on the resolver has what it loads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OutOfDescriptors):
            await pool.send(GET)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (await pool.send(GET)).body == b"/a"


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://", "http://user:secret@host", "https://:443"])
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="An origin is") as caught:
        Pool(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://Host", "http://host:80"),
        ("https://host/path", "https://host:443"),
        ("https://b\xfccher.example", "https://xn--bcher-kva.example:443"),
        ("http://[::1]:81", "http://[::1]:81"),
    ],
)
def test_an_origin(url: str, written: str) -> None:
    assert str(Origin.of(url)) == written


# TLS


async def test_a_certificate_of_another_authority_is_refused(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer(authority.server))
    accepting = asyncio.create_task(server.accept())
    pool = Pool(server.url, tls=ssl.create_default_context())
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(GET)
    assert str(caught.value) == "TLS could not be agreed upon."
    with pytest.raises(ssl.SSLError):
        await accepting


async def test_a_certificate_for_another_host_is_refused(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer(authority.server))
    accepting = asyncio.create_task(server.accept())
    known = addresses((socket.AF_INET, ("127.0.0.1", server.port)))
    with pytest.raises(ConnectFailed):
        await Pool("https://other.example", tls=authority.client, resolver=known).send(GET)
    with pytest.raises(ssl.SSLError):
        await accepting


async def test_a_server_that_speaks_no_tls(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer())
    call = asyncio.create_task(Pool(f"https://localhost:{server.port}", tls=authority.client).send(GET))
    (await server.accept()).write(answer())
    with pytest.raises(ConnectFailed):
        await call


async def test_a_handshake_that_does_not_end_is_bounded_by_the_connect_timeout(
    stack: AsyncExitStack, authority: Authority
) -> None:
    server = await stack.enter_async_context(RawServer())
    settings = PoolSettings(connect_timeout=0.1)
    call = asyncio.create_task(Pool(f"https://localhost:{server.port}", settings, tls=authority.client).send(GET))
    peer = await server.accept()
    with pytest.raises(ConnectTimedOut):
        await call
    assert await peer.ended()


async def test_a_client_certificate(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer(authority.server_that_asks))
    server.serving()
    pool = Pool(server.url, tls=authority.client_with_certificate)
    stack.push_async_callback(pool.aclose)
    assert (await pool.send(GET)).body == b"/a"


async def test_a_client_certificate_that_is_missing(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer(authority.server_that_asks))
    accepting = asyncio.create_task(server.accept())
    pool = Pool(server.url, tls=authority.client)
    stack.push_async_callback(pool.aclose)
    with pytest.raises((ConnectFailed, ConnectionBroken)):  # TLS 1.3 says so behind the handshake
        await pool.send(GET)
    with pytest.raises(ssl.SSLError):
        await accepting


async def test_session_tickets_do_not_cost_the_connection(stack: AsyncExitStack, authority: Authority) -> None:
    server = await stack.enter_async_context(RawServer(authority.server))
    assert authority.server.num_tickets > 0
    server.serving()
    pool = Pool(server.url, tls=authority.client)
    stack.push_async_callback(pool.aclose)
    for _ in range(3):
        await pool.send(GET)
    assert pool.state().opened == 1


# the proxy


class Proxied:
    """A proxy that the test speaks for, and a pool that goes through it."""

    def __init__(self, stack: AsyncExitStack, proxy: RawServer, origin: str, tls: ssl.SSLContext | None) -> None:
        settings = PoolSettings(proxy_url=f"http://us%40er:se%3Acret@localhost:{proxy.port}", connect_timeout=5)
        self.pool = Pool(origin, settings, tls=tls)
        stack.push_async_callback(self.pool.aclose)
        self.proxy = proxy

    async def asked(self) -> tuple[asyncio.Task[bytes], Peer, bytes]:
        """Begin a call; return it, the proxy's end of the connection, and what the proxy was asked."""

        async def get() -> bytes:
            return (await self.pool.send(GET)).body

        call = asyncio.create_task(get())
        peer = await self.proxy.accept()
        return call, peer, await peer.request()


CREDENTIALS = b"proxy-authorization: Basic " + base64.b64encode(b"us@er:se:cret")


@pytest.mark.parametrize("status", [b"200 Connection established", b"299 Unknown"])
async def test_https_goes_through_a_tunnel(stack: AsyncExitStack, authority: Authority, status: bytes) -> None:
    proxy = await stack.enter_async_context(RawServer())
    proxied = Proxied(stack, proxy, "https://localhost", authority.client)
    call, peer, asked = await proxied.asked()
    assert asked == b"CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\n" + CREDENTIALS + b"\r\n\r\n"
    peer.write(b"HTTP/1.1 %b\r\nvia: proxy\r\n\r\n" % status)
    await peer.start_tls(authority.server)
    request = await peer.request()
    peer.write(answer_to(request))
    assert await call == b"/a"
    assert request.startswith(b"GET /a HTTP/1.1\r\nhost: localhost\r\n")
    assert b"proxy-authorization" not in request
    assert proxied.pool.state().idle == 1


async def test_http_is_asked_for_in_the_absolute_form(stack: AsyncExitStack) -> None:
    proxy = await stack.enter_async_context(RawServer())
    call, peer, asked = await Proxied(stack, proxy, "http://api.example/base", None).asked()
    peer.write(answer_to(asked))
    assert await call == b"http://api.example:80/base/a"
    assert asked.startswith(b"GET http://api.example:80/base/a HTTP/1.1\r\nhost: api.example\r\n")
    assert CREDENTIALS + b"\r\n" in asked


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 199 Unknown\r\n\r\n",
        b"HTTP/1.1 300 Multiple Choices\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\n\r\n\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"x" * 20_000,
    ],
)
async def test_a_tunnel_that_is_refused(stack: AsyncExitStack, authority: Authority, sent: bytes) -> None:
    proxy = await stack.enter_async_context(RawServer())
    call, peer, _ = await Proxied(stack, proxy, "https://localhost", authority.client).asked()
    peer.write(sent)
    with pytest.raises(ConnectFailed) as caught:
        await call
    assert "secret" not in repr(caught.value)
    assert await peer.ended()


async def test_a_tunnel_that_ends(stack: AsyncExitStack, authority: Authority) -> None:
    proxy = await stack.enter_async_context(RawServer())
    call, peer, _ = await Proxied(stack, proxy, "https://localhost", authority.client).asked()
    peer.close()
    with pytest.raises(ConnectFailed):
        await call
    assert await peer.ended()


async def test_a_call_cancelled_while_its_tunnel_opens(stack: AsyncExitStack, authority: Authority) -> None:
    proxy = await stack.enter_async_context(RawServer())
    call, peer, _ = await Proxied(stack, proxy, "https://localhost", authority.client).asked()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await peer.ended()


@pytest.mark.parametrize("url", ["https://proxy", "socks5://proxy", "proxy:3128", "http://", "http://proxy/path"])
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(ValueError, match="A proxy is"):
        Pool("http://host", PoolSettings(proxy_url=url))


def test_the_settings_do_not_show_the_proxys_password() -> None:
    assert "secret" not in repr(PoolSettings(proxy_url="http://user:secret@proxy"))


async def test_the_environments_proxy_is_not_used(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refusing_port()}")
    server = await stack.enter_async_context(RawServer())
    server.serving()
    pool = Pool(server.url)
    stack.push_async_callback(pool.aclose)
    assert (await pool.send(GET)).body == b"/a"
    await until(lambda: pool.state().idle == 1)


def test_a_proxy_is_at_port_80_unless_its_address_names_another() -> None:
    assert Proxy.of("http://proxy.example") == Proxy("proxy.example", 80)
    assert Proxy.of("http://proxy.example:3128/") == Proxy("proxy.example", 3128)


def test_a_proxys_user_may_have_no_password() -> None:
    line = f"proxy-authorization: Basic {base64.b64encode(b'user:').decode()}\r\n"
    assert {Proxy.of(f"http://{each}@proxy").headers for each in ("user", "user:")} == {line}
