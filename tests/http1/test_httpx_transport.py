"""httpx around the pool: its requests, answers, errors and timeouts."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.http1 import Pool, PoolSettings, PoolTransport, Request
from tests.http1.raw_server import RawServer, answer, answer_to
from tests.http1.test_connecting import refusing_port

GZIP = b"content-encoding: gzip\r\nset-cookie: a=b\r\n"


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = PoolTransport(lambda url: Pool(url, PoolSettings(max_connections=4, max_body=1000)))
    async with httpx.AsyncClient(transport=transport, timeout=5) as client:
        yield client


async def test_a_request_and_its_answer(client: httpx.AsyncClient, server: RawServer) -> None:
    server.serving(lambda _: answer(gzip.compress(b'{"a": 1}'), b"201 Created", GZIP))
    response = await client.post(f"{server.url}/a%2Fb?c=d", json={"e": 1}, headers={"x": "y"}, auth=("user", "secret"))
    assert (response.status_code, response.json()) == (201, {"a": 1})
    assert response.headers["set-cookie"] == "a=b"
    assert "content-encoding" not in response.headers
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"e":1}'
    assert head.startswith(b"POST /a%2Fb?c=d HTTP/1.1\r\nhost: localhost:")
    for line in (b"x: y", b"authorization: basic", b"accept-encoding: gzip, deflate", b"content-length: 7", b"host: "):
        assert head.lower().count(b"\r\n" + line) == 1
    assert b"\r\nconnection:" not in head.lower()


async def test_a_body_that_is_streamed_is_sent_whole(client: httpx.AsyncClient, server: RawServer) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"bo"
        yield b"dy"

    server.serving()
    await client.put(f"{server.url}/a", content=body())
    assert server.requests[0].endswith(b"content-length: 4\r\n\r\nbody")


async def test_redirects_are_the_callers_to_follow(client: httpx.AsyncClient, server: RawServer) -> None:
    server.serving(lambda _: answer(b"", b"301 Moved", b"location: /elsewhere\r\n"))
    assert (await client.get(server.url)).status_code == 301
    assert len(server.requests) == 1


async def test_each_origin_has_a_pool_and_one_may_be_shared(server: RawServer) -> None:
    opened: list[str] = []

    def new_pool(url: str) -> Pool:
        opened.append(url)
        return Pool(url)

    async with RawServer() as other:
        for each in (server, other):
            each.serving()
        shared = Pool(other.url)
        transport = PoolTransport(new_pool, [shared])
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(2):
                await client.get(f"{server.url}/a")
                await client.get(f"{other.url}/a")
        assert opened == [server.url]
        assert shared.state().opened == 1
        assert (await shared.send(Request("GET", "/a"))).body == b"/a"
        await shared.aclose()


@pytest.mark.parametrize(
    ("sent", "error", "text"),
    [
        (b"nonsense", httpx.RemoteProtocolError, "The response does not start with a status line."),
        (b"Here", httpx.RemoteProtocolError, "The response is not HTTP/1.1."),
        (answer(bytes(1001)), httpx.RemoteProtocolError, "The body of the response is larger than 1000 bytes."),
        (answer(b"no", headers=GZIP), httpx.RemoteProtocolError, "The compressed body is damaged."),
        (answer() * 2, httpx.ReadError, "More than one response came to one request."),
    ],
)
async def test_errors_of_an_answer(
    client: httpx.AsyncClient, server: RawServer, sent: bytes, error: type[Exception], text: str
) -> None:
    server.serving(lambda _: sent)
    with pytest.raises(error) as caught:
        await client.get(server.url)
    assert str(caught.value) == text


async def test_errors_of_a_connection(client: httpx.AsyncClient, server: RawServer) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(httpx.UnsupportedProtocol):
        await client.get("ftp://localhost/a")
    with pytest.raises(httpx.LocalProtocolError, match=r"^A header of the request cannot be sent\.$"):
        await client.get(server.url, headers={"x": "a\r\nb: c"})
    call = asyncio.create_task(client.get(server.url))
    (await server.accept()).reset()
    with pytest.raises(httpx.ReadError, match=r"^The connection ended before the response did\.$"):
        await call


async def test_timeouts_are_the_requests(client: httpx.AsyncClient, server: RawServer) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.get(server.url, timeout=httpx.Timeout(5, read=0.05))


async def test_the_connect_timeout_is_the_requests(stalled: int) -> None:
    transport = PoolTransport(lambda url: Pool(url, PoolSettings(connect_timeout=60)))
    async with httpx.AsyncClient(transport=transport) as client, asyncio.timeout(10):
        with pytest.raises(httpx.ConnectTimeout, match=r"^No connection was opened in time\.$"):
            await client.get(f"http://127.0.0.1:{stalled}", timeout=httpx.Timeout(60, connect=0.05))


async def test_an_origin_without_a_port_has_that_of_its_scheme(server: RawServer) -> None:
    opened: list[str] = []

    def new_pool(url: str) -> Pool:
        opened.append(url)
        return Pool(server.url)

    server.serving()
    async with httpx.AsyncClient(transport=PoolTransport(new_pool)) as client:
        for url in ("https://api.example", "http://api.example", "https://api.example:80"):
            await client.get(url)
    assert opened == ["https://api.example:443", "http://api.example:80", "https://api.example:80"]


async def test_a_timeout_of_none_is_the_pools(client: httpx.AsyncClient, server: RawServer) -> None:
    server.serving(answer_to)
    assert (await client.get(f"{server.url}/a", timeout=None)).text == "/a"
