"""Canaries of gateway/compat/uvicorn_cycle.py: a response is sent as uvicorn sends it, with fewer writes."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.compat.uvicorn import HttpConnection
from gateway.compat.uvicorn_cycle import Cycle
from gateway.sandbox import BackgroundServer
from tests.compat.test_uvicorn import client_of


async def echo(scope: Scope, _receive: Receive, send: Send) -> None:
    """Respond with the header that the query string names, and two pieces of a body."""
    name, _, value = scope["query_string"].partition(b"=")
    headers = [(name, value.replace(b"+", b" ").replace(b"%0D%0A", b"\r\n"))] if name else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


RESPONSES: dict[str, tuple[dict[str, str], str]] = {
    "": ({"transfer-encoding": "chunked"}, "onetwo"),
    "Content-Length=6": ({"content-length": "6"}, "onetwo"),
    "transfer-encoding=Chunked": ({"transfer-encoding": "chunked"}, "onetwo"),
    "connection=keep-alive,+Close": ({"connection": "keep-alive, Close", "transfer-encoding": "chunked"}, "onetwo"),
    "X-Own=value": ({"x-own": "value", "transfer-encoding": "chunked"}, "onetwo"),
}


@pytest.mark.parametrize("query", RESPONSES)
def test_a_response_is_sent_as_uvicorn_sends_it(query: str) -> None:
    options: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False, "ws": "none"}
    seen = []
    for connection in (HttpConnection, HttpToolsProtocol):
        with (
            BackgroundServer(uvicorn.Config(echo, http=connection, **options)) as server,
            client_of(server.url) as client,
        ):
            for method in ("GET", "GET", "HEAD"):
                response = client.request(method, "/?" + query)
                headers = {name: value for name, value in response.headers.items() if name != "date"}
                seen.append((method, response.status_code, response.text, headers))
    assert seen[:3] == seen[3:], "`RequestResponseCycle.send` differs from `Cycle.send`"
    wanted, body = RESPONSES[query]
    assert seen[0][2] == body
    assert wanted.items() <= seen[0][3].items()


@pytest.mark.parametrize("query", ["bad%20name=", "name=a%0D%0Ab:+c"])
@pytest.mark.parametrize("connection", [HttpConnection, HttpToolsProtocol])
def test_a_header_that_breaks_out_of_its_line_is_not_sent(connection: type, query: str) -> None:
    query = query.replace("%20", "%3A")
    options: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False, "ws": "none"}

    async def unquoted(scope: Scope, receive: Receive, send: Send) -> None:
        await echo({**scope, "query_string": scope["query_string"].replace(b"%3A", b":")}, receive, send)

    with (
        BackgroundServer(uvicorn.Config(unquoted, http=connection, **options)) as server,
        client_of(server.url) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get("/?" + query)


class Noting:
    """A transport that notes how many bytes each of its writes has."""

    def __init__(self, transport: Any, sizes: list[int]) -> None:
        self._transport = transport
        self._sizes = sizes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._sizes.append(len(data))
        self._transport.write(data)


LARGE = 100_000


@pytest.mark.parametrize(
    ("method", "length", "parts", "bodies"),
    [
        ("GET", 6, [b"onetwo"], [6]),
        ("GET", 6, [b"one", b"two"], [3, 3]),
        ("GET", 6, [b"", b"onetwo"], [0, 6]),
        ("GET", 0, [b""], [0]),
        ("GET", LARGE, [bytes(LARGE)], [None, LARGE]),
        ("GET", None, [b"one"], [None, len(b"3\r\none\r\n0\r\n\r\n")]),
        ("HEAD", 6, [b""], [None]),
    ],
    ids=["whole", "two parts", "an empty part", "empty", "large", "length unknown", "HEAD"],
)
def test_a_head_is_written_with_the_beginning_of_its_body(
    method: str, length: int | None, parts: list[bytes], bodies: list[int | None]
) -> None:
    """Where the length is unknown it is written at once: the body may come later. ``None`` is the head alone."""
    sizes: list[int] = []

    class Noted(HttpConnection):
        def connection_made(self, transport: Any) -> None:
            noting: Any = Noting(transport, sizes)
            super().connection_made(noting)

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": parts[-1]})

    options: Any = {"lifespan": "off", "log_config": None, "access_log": False, "ws": "none"}
    with (
        BackgroundServer(uvicorn.Config(application, http=Noted, **options)) as server,
        client_of(server.url) as client,
    ):
        response = client.request(method, "/")
    assert response.content == (b"" if method == "HEAD" else b"".join(parts))
    head = sizes[0] - (bodies[0] or 0)
    assert head > len(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sizes[1:] == [size or 0 for size in bodies[1:]]


def test_a_body_of_another_length_than_was_announced_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": scope["query_string"]})

    options: Any = {"lifespan": "off", "log_config": None, "access_log": False, "ws": "none"}
    config = uvicorn.Config(application, http=HttpConnection, **options)
    with BackgroundServer(config) as server, client_of(server.url) as client:
        assert client.get("/?abc").text == "abc"
        for query in ("abcd", "ab"):
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"/?{query}")
    assert sum(record.exc_info is not None for record in caplog.records) == 2


async def test_a_head_waits_while_the_client_takes_nothing() -> None:
    """Until then the connection may still respond itself, such as to a body that does not end."""
    written: list[bytes] = []
    transport: Any = SimpleNamespace(write=written.append)
    flow = FlowControl(transport)
    flow.pause_writing()
    log = logging.getLogger("test")
    scope: Any = {"method": "HEAD"}
    cycle = Cycle(scope, transport, flow, log, log, False, [], asyncio.Event(), False, True, print)
    sending = asyncio.ensure_future(cycle.send({"type": "http.response.start", "status": 200}))
    await asyncio.sleep(0)
    assert not cycle.response_started
    flow.resume_writing()
    await sending
    assert written == [b"HTTP/1.1 200 OK\r\n\r\n"]
