"""An answer that no call asked for never reaches a call; see the table at the top of `connection.py`."""

import asyncio
import contextlib
import sys

import pytest

from gateway.http1 import ConnectionBroken, Request, StrayResponse
from tests.http1.raw_server import answer, answer_to
from tests.http1.road import Road, until

STRAYS = {
    "408": answer(b"stray", b"408 Request Timeout"),
    "200": answer(b"stray"),
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nstray\r\n0\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "one byte": b"H",
    "line end": b"\r\n",
}
stray = pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)


@stray
@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("noticed", ["by the event loop", "in the kernel's buffer"])
async def test_between_two_calls(road: Road, stray: bytes, before: int, noticed: str) -> None:
    (peer,) = await road.kept()
    for number in range(1, before):
        call = asyncio.create_task(road.get(f"/before/{number}"))
        peer.write(answer_to(await peer.request()))
        assert (await call).body == b"/before/%d" % number
    road.server.serving()
    peer.write(stray)
    if noticed == "by the event loop":
        await until(lambda: road.pool.state().idle == 0)
    for number in range(3):
        assert (await road.get(f"/after/{number}")).body == b"/after/%d" % number
    assert len(road.server.requests) == 3
    assert await peer.ended()
    discarded = road.pool.state().discarded
    assert discarded == {"stray" if noticed == "by the event loop" else "readable": 1}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("stray", ["408", "200", "chunked"])
async def test_in_one_segment_with_the_true_answer(road: Road, stray: str, is_first: bool) -> None:
    """Which of the two is the true one is unknown, so the call gets neither."""
    sent = STRAYS[stray]
    road.server.serving(lambda request: sent + answer_to(request) if is_first else answer_to(request) + sent)
    with pytest.raises(StrayResponse) as caught:
        await road.get("/a")
    assert (caught.value.request_sent, caught.value.response_begun) == (True, True)
    state = road.pool.state()
    assert (state.idle, state.discarded) == (0, {"surplus": 1})


async def test_in_one_segment_on_a_kept_connection_the_get_is_not_sent_again(road: Road) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.get("/b"))
    peer.write(answer_to(await peer.request()) + STRAYS["200"])
    with pytest.raises(StrayResponse):
        await call
    assert (road.pool.state().opened, road.pool.state().reconnects) == (1, 0)


@pytest.mark.parametrize("framing", ["length", "chunked", "no body"])
async def test_line_ends_behind_an_answer_cost_the_connection(road: Road, framing: str) -> None:
    sent = {
        "length": answer(b"body\n"),
        "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbody\n\r\n0\r\n\r\n",
        "no body": b"HTTP/1.1 204 No Content\r\n\r\n",
    }[framing]
    road.server.serving(lambda request: sent + (b"\r\n" if b"/more" in request else b""))
    expected = b"" if framing == "no body" else b"body\n"
    assert (await road.get("/exact")).body == expected
    assert road.pool.state().idle == 1
    assert (await road.get("/more")).body == expected
    assert (road.pool.state().idle, road.pool.state().discarded) == (0, {"last": 1})


async def test_behind_a_body_in_a_segment_of_its_own(road: Road) -> None:
    call, peer = await road.begun(Request("GET", "/a"))
    true = answer(b"/a")
    peer.write(true[:-1])
    await until(lambda: True)
    peer.write(true[-1:])
    peer.write(STRAYS["200"])
    with contextlib.suppress(StrayResponse):  # the two segments may be read as one
        assert (await call).body == b"/a"
    road.server.serving()
    assert (await road.get("/b")).body == b"/b"
    assert await peer.ended()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_408_that_crosses_a_request(road: Road, method: str) -> None:
    """It says that the connection was idle for too long. A GET is sent again; what became of a POST is unknown."""
    (peer,) = await road.kept()
    call = asyncio.create_task(road.pool.send(Request(method, "/b")))
    await peer.request()
    road.server.serving()
    peer.write(STRAYS["408"])
    if method == "GET":
        assert (await call).body == b"/b"
        assert road.pool.state().reconnects == 1
    else:
        with pytest.raises(ConnectionBroken) as caught:
            await call
        assert (caught.value.request_sent, caught.value.response_begun) == (True, False)
        assert road.server.requests == []
    assert road.pool.state().discarded == {"gave_up": 1}
    assert await peer.ended()


async def test_a_408_to_the_first_request_of_a_connection_is_its_answer(road: Road) -> None:
    road.server.serving(lambda _: STRAYS["408"])
    assert (await road.get()).status == 408
    assert (road.pool.state().idle, len(road.server.requests)) == (0, 1)


async def test_what_cannot_be_told_from_a_true_answer_ends_when_the_connection_is_idle(road: Road) -> None:
    """A stray answer sent after the request arrived is taken for the answer; the true one then gives it away."""
    (peer,) = await road.kept()
    call = asyncio.create_task(road.get("/b"))
    true = answer_to(await peer.request())
    peer.write(STRAYS["200"])
    assert (await call).body == b"stray"
    peer.write(true)
    road.server.serving()
    assert (await road.get("/c")).body == b"/c"
    assert (await road.get("/d")).body == b"/d"
    assert await peer.ended()


LONG = Request("POST", "/upload", body=bytes(2**24))  # more than the sockets of both ends hold


async def test_an_answer_to_a_first_request_not_fully_written_is_delivered(road: Road) -> None:
    call = asyncio.create_task(road.pool.send(LONG))
    peer = await road.server.accept()
    await peer.head()
    peer.write(answer(b"", b"413 Content Too Large"))
    assert (await call).status == 413
    assert (road.pool.state().idle, road.pool.state().discarded) == (0, {"last": 1})
    assert await peer.ended()


async def test_an_answer_to_a_later_request_not_fully_written_may_be_stray(road: Road) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.pool.send(LONG))
    await until(lambda: road.pool.state().idle == 0)
    peer.write(STRAYS["200"])
    with pytest.raises(ConnectionBroken) as caught:
        await call
    assert not caught.value.response_begun
    assert road.pool.state().discarded == {"early": 1}
    assert await peer.ended()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what the other end acknowledged")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("stray", [STRAYS["200"], STRAYS["chunked"], STRAYS["interim"]], ids=["200", "chunked", "1xx"])
async def test_a_stray_answer_that_crosses_the_request(road: Road, stray: bytes, method: str) -> None:
    """The request is written, but the server's kernel has no room for it: so it is on the way as the answer comes."""
    road.server.receive_little()
    (peer,) = await road.kept()
    long = "x" * 60_000
    request = Request("GET", f"/{long}") if method == "GET" else Request("POST", "/b", body=long.encode())
    call = asyncio.create_task(road.pool.send(request))
    await until(lambda: road.pool.state().idle == 0)
    road.server.serving()
    peer.write(stray)
    if method == "GET":
        assert (await call).body == request.target.encode()
        assert road.pool.state().reconnects == 1
    else:
        with pytest.raises(ConnectionBroken) as caught:
            await call
        assert (caught.value.request_sent, caught.value.response_begun) == (True, False)
        assert road.server.requests == []
    assert road.pool.state().discarded == {"early": 1}
    assert await peer.ended()
