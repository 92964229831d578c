"""The bytes of a request, and when they leave."""

import asyncio

import pytest

from gateway.http1 import (
    ConnectFailed,
    HeaderLines,
    InvalidRequest,
    Pool,
    Request,
)
from tests.http1.raw_server import answer
from tests.http1.road import Road
from tests.http1.test_connecting import refusing_port

GET = Request("GET", "/a")
POST = Request("POST", "/a", body=b"{}")


async def test_the_bytes_of_a_request(plain_road: Road) -> None:
    headers = HeaderLines.of([("accept", "application/json")])
    plain_road.server.serving()
    await plain_road.pool.send(Request("GET", "/a?b=c", "Basic x", headers))
    await plain_road.pool.send(Request("POST", "/a", headers=headers, body=b"body"))
    await plain_road.pool.send(Request("DELETE", "/a"))
    host = b"host: localhost:%d\r\naccept-encoding: gzip, deflate\r\n" % plain_road.server.port
    json = b"accept: application/json\r\n"
    assert plain_road.server.requests == [
        b"GET /a?b=c HTTP/1.1\r\n" + host + json + b"authorization: Basic x\r\n\r\n",
        b"POST /a HTTP/1.1\r\n" + host + json + b"content-length: 4\r\n\r\nbody",
        b"DELETE /a HTTP/1.1\r\n" + host + b"content-length: 0\r\n\r\n",
    ]


async def test_the_path_of_the_base_url_goes_before_the_target(plain_road: Road) -> None:
    plain_road.server.serving()
    pool = Pool(f"{plain_road.server.url}/base/")
    assert (await pool.send(GET)).body == b"/base/a"
    await pool.aclose()


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a b"),
        Request("GET", "/a\r\nx: y"),
        Request("GET", "/\xe9"),
        Request("GET", "a"),
        Request("GET", "http://elsewhere/"),
        Request("GET /", "/a"),
        Request("CONNECT", "/a"),
        Request("GET", "/a", "Basic x\r\nx: y"),
        Request("GET", "/a", "Basic \u20ac"),
    ],
)
async def test_a_request_that_would_say_something_else_is_not_sent(plain_road: Road, request_: Request) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await plain_road.pool.send(request_)
    assert not caught.value.request_sent
    assert plain_road.pool.state().opened == 0


@pytest.mark.parametrize("field", [("x", "y\r\nz: z"), ("x:", "y"), ("", "y"), ("Host", "y"), ("content-length", "0")])
def test_a_header_that_cannot_be_sent(field: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        HeaderLines.of([field])


async def test_a_long_body_arrives_whole(road: Road) -> None:
    body = bytes(range(256)) * 10_000
    road.server.serving()
    await road.pool.send(Request("POST", "/a", body=body))
    assert road.server.requests[0].partition(b"\r\n\r\n")[2] == body
    assert road.pool.state().idle == 1


async def test_a_request_says_when_it_leaves(road: Road) -> None:
    """Before that, it can end in any way and was certainly not carried out."""
    sent: list[str] = []
    request = Request("POST", "/a", on_send=lambda: sent.append("sent"), new_connection=True)
    call = asyncio.create_task(road.pool.send(request))
    peer = await road.server.accept()
    await peer.request()
    assert sent == ["sent"]
    peer.write(answer(b"{}"))
    await call


async def test_a_request_that_does_not_leave_says_nothing(plain_road: Road) -> None:
    sent: list[str] = []
    refused = Pool(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(ConnectFailed) as caught:
        await refused.send(Request("POST", "/a", on_send=lambda: sent.append("sent")))
    assert not caught.value.request_sent
    with pytest.raises(InvalidRequest):
        await plain_road.pool.send(Request("POST", "a", on_send=lambda: sent.append("sent")))
    call = asyncio.create_task(plain_road.pool.send(Request("POST", "/a", on_send=lambda: sent.append("sent"))))
    await asyncio.sleep(0)  # it waits for its connection
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sent == []
