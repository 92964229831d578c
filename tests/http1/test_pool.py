"""Which connection a call gets, and what ends a connection."""

import asyncio
import gzip

import pytest

from gateway.http1 import (
    ConnectFailed,
    ConnectionBroken,
    InvalidResponse,
    ReadTimedOut,
    Request,
    ResponseTooLarge,
)
from tests.http1.conftest import NewRoad
from tests.http1.raw_server import Authority, answer, answer_to
from tests.http1.road import Road, until

GET = Request("GET", "/a")
POST = Request("POST", "/a", body=b"{}")


# which connection


async def test_the_connection_used_last_is_used_next(road: Road) -> None:
    peers = await road.kept(3)
    for number in range(4):
        call = asyncio.create_task(road.get(f"/{number}"))
        peers[-1].write(answer_to(await peers[-1].request()))
        assert (await call).body == b"/%d" % number
    assert road.pool.state().opened == 3


async def test_no_more_connections_than_allowed(new_road: NewRoad) -> None:
    road = await new_road(max_connections=2)
    calls = [asyncio.create_task(road.get(f"/{number}")) for number in range(6)]
    peers = [await road.server.accept() for _ in range(2)]
    waiting = []
    for _ in range(3):
        requests = [await peer.request() for peer in peers]
        waiting.append(road.pool.state().waiting)
        for peer, request in zip(peers, requests, strict=True):
            peer.write(answer_to(request))
    assert [(await call).body for call in calls] == [b"/%d" % number for number in range(6)]
    assert waiting == [4, 2, 0]
    assert road.pool.state().opened == 2


async def test_a_call_that_is_cancelled_in_line_leaves_its_place_to_the_next(new_plain_road: NewRoad) -> None:
    road = await new_plain_road(max_connections=1)
    first, peer = await road.begun(GET)
    second, third = (asyncio.create_task(road.get(target)) for target in ("/second", "/third"))
    await until(lambda: road.pool.state().waiting == 2)
    peer.write(answer())
    await until(lambda: road.pool.state().waiting == 1)  # it is the second's turn
    second.cancel()
    peer.write(answer_to(await peer.request()))
    assert (await first).status == 200
    assert (await third).body == b"/third"
    assert second.cancelled()
    assert road.pool.state().waiting == 0


async def test_a_connection_of_its_maximum_age_is_not_used_again(new_road: NewRoad) -> None:
    road = await new_road(max_age=60.0, max_idle=50.0)
    (old,) = await road.kept()
    road.server.serving()
    road.clock.now += 30
    call = asyncio.create_task(road.get("/young"))
    old.write(answer_to(await old.request()))
    assert (await call).body == b"/young"
    road.clock.now += 31
    assert (await road.get("/b")).body == b"/b"
    assert road.pool.state().discarded == {"expired": 1}
    assert await old.ended()


async def test_a_connection_idle_for_too_long_is_not_used_again(road: Road) -> None:
    (old,) = await road.kept()
    road.server.serving()
    road.clock.now += 31
    assert (await road.get("/b")).body == b"/b"
    assert road.pool.state().discarded == {"expired": 1}
    assert await old.ended()


async def test_connections_that_are_not_needed_are_closed(road: Road) -> None:
    peers = await road.kept(3)
    road.clock.now += 20
    call = asyncio.create_task(road.get())
    peers[-1].write(answer_to(await peers[-1].request()))
    await call
    road.clock.now += 11
    road.pool.close_expired()
    await asyncio.gather(*(peer.ended() for peer in peers[:2]))
    await until(lambda: road.pool.state().open == 1)
    assert (road.pool.state().idle, road.pool.state().discarded) == (1, {"expired": 2})


# what ends a connection


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("noticed", ["by the event loop", "in the kernel's buffer"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_ended_while_idle_is_not_used(road: Road, how: str, noticed: str, method: str) -> None:
    """As nothing was sent on it, a POST is as safe as a GET."""
    (peer,) = await road.kept()
    road.server.serving()
    peer.close() if how == "close" else peer.reset()
    if noticed == "by the event loop":
        await until(lambda: road.pool.state().idle == 0)
    assert (await road.pool.send(Request(method, "/b"))).body == b"/b"
    state = road.pool.state()
    assert (state.reconnects, state.opened) == (0, 2)
    reason = "readable" if noticed != "by the event loop" else "closed_by_peer" if how == "close" else "broken"
    assert state.discarded == {reason: 1}


@pytest.mark.parametrize("when", ["before the next call", "at the next call"])
async def test_thirty_connections_that_are_reset_when_next_used_fail_no_get(road: Road, when: str) -> None:
    peers = await road.kept(30)
    road.server.serving()
    if when == "before the next call":
        for peer in peers:
            peer.reset()
        calls = [asyncio.create_task(road.get(f"/{number}")) for number in range(30)]
    else:
        calls = [asyncio.create_task(road.get(f"/{number}")) for number in range(30)]
        for peer in peers:
            await peer.request()
            peer.reset()
    assert [(await call).body for call in calls] == [b"/%d" % number for number in range(30)]
    assert road.pool.state().reconnects == (0 if when == "before the next call" else 30)


async def test_after_one_dead_connection_the_other_idle_ones_are_not_tried(road: Road) -> None:
    peers = await road.kept(3)
    road.server.serving()
    call = asyncio.create_task(road.get("/b"))
    await peers[-1].request()
    peers[-1].reset()
    assert (await call).body == b"/b"
    assert (road.pool.state().reconnects, road.pool.state().discarded["suspect"]) == (1, 2)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_post_is_never_sent_twice(road: Road, how: str) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.pool.send(POST))
    await peer.request()
    road.server.serving()
    peer.close() if how == "close" else peer.reset()
    with pytest.raises(ConnectionBroken) as caught:
        await call
    assert (caught.value.request_sent, caught.value.response_begun) == (True, False)
    assert (road.server.requests, road.pool.state().reconnects) == ([], 0)


async def test_a_request_may_ask_for_a_new_connection(new_road: NewRoad) -> None:
    road = await new_road(max_connections=2)
    await road.kept(2)
    road.server.serving()
    for number in range(3):
        assert (await road.pool.send(Request("POST", "/b", new_connection=True))).body == b"/b"
        state = road.pool.state()
        assert (state.opened, state.open, state.idle, state.discarded) == (3 + number, 2, 2, {"replaced": 1 + number})


async def test_a_get_is_sent_again_once(road: Road) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.get())
    await peer.request()
    peer.reset()
    second = await road.server.accept()
    await second.request()
    second.reset()
    with pytest.raises(ConnectionBroken):
        await call
    assert (road.pool.state().opened, road.pool.state().reconnects) == (2, 1)


async def test_a_get_on_a_new_connection_is_not_sent_again(road: Road) -> None:
    call, peer = await road.begun(GET)
    peer.reset()
    with pytest.raises(ConnectionBroken):
        await call
    assert (road.pool.state().opened, road.pool.state().reconnects) == (1, 0)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_get_whose_answer_began_is_not_sent_again(road: Road, how: str) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.get())
    await peer.request()
    peer.write(answer(b"body")[:-1])
    peer.close() if how == "close" else peer.reset()
    with pytest.raises(ConnectionBroken):
        await call
    assert road.pool.state().reconnects == 0


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelling_a_call_closes_its_connection(road: Road, begun: bool) -> None:
    (peer,) = await road.kept()
    call = asyncio.create_task(road.get())
    await peer.request()
    if begun:
        peer.write(answer(b"body")[:-1])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await peer.ended()
    road.server.serving()
    assert (await road.get("/b")).body == b"/b"
    assert road.pool.state().discarded == {"cancelled": 1}


async def test_a_call_cancelled_as_its_answer_arrives_closes_its_connection(road: Road) -> None:
    call, peer = await road.begun(GET)
    peer.write(answer())
    await until(lambda: call.get_stack() == [] or _is_answered(call))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await peer.ended()


def _is_answered(call: asyncio.Task[object]) -> bool:
    waiting_for = getattr(call, "_fut_waiter", None)
    return waiting_for is None or waiting_for.done()


@pytest.mark.parametrize("begun", [False, True])
async def test_a_read_timeout_closes_the_connection(new_road: NewRoad, begun: bool) -> None:
    road = await new_road()
    (peer,) = await road.kept()
    call = asyncio.create_task(road.pool.send(Request("GET", "/a", read_timeout=0.05)))
    await peer.request()
    if begun:
        peer.write(answer(b"body")[:-1])
    with pytest.raises(ReadTimedOut):
        await call
    assert await peer.ended()
    assert (road.pool.state().idle, road.pool.state().reconnects) == (0, 0)


async def test_the_read_timeout_of_a_request_comes_before_the_pools(plain_road: Road) -> None:
    (peer,) = await plain_road.kept()
    call = asyncio.create_task(plain_road.pool.send(Request("GET", "/a", read_timeout=0.05)))
    await peer.request()
    with pytest.raises(ReadTimedOut):
        await call


async def test_a_body_that_the_server_does_not_read_times_out(new_road: NewRoad) -> None:
    road = await new_road(read_timeout=0.05)
    call = asyncio.create_task(road.pool.send(Request("POST", "/a", body=bytes(2**24))))
    await road.server.accept()
    with pytest.raises(ReadTimedOut):
        await call


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody", InvalidResponse),
        (b"nonsense", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense", InvalidResponse),
        (answer(bytes(1001)), ResponseTooLarge),
        (answer(gzip.compress(bytes(2**20)), headers=b"content-encoding: gzip\r\n"), ResponseTooLarge),
    ],
)
async def test_an_answer_that_is_refused_closes_the_connection(
    new_road: NewRoad, sent: bytes, error: type[Exception]
) -> None:
    road = await new_road(max_body=1000)
    road.server.serving(lambda _: sent)
    with pytest.raises(error):
        await road.get()
    assert (road.pool.state().idle, road.pool.state().discarded) == (0, {"invalid": 1})


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"body", headers=b"connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody",
    ],
)
async def test_a_connection_that_is_said_to_close_is_not_used_again(road: Road, sent: bytes) -> None:
    road.server.serving(lambda _: sent)
    for _ in range(2):
        assert (await road.get()).body == b"body"
    assert (road.pool.state().opened, road.pool.state().discarded) == (2, {"last": 2})


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_that_ends_with_the_connection(road: Road, version: bytes) -> None:
    call, peer = await road.begun(GET)
    peer.write(b"HTTP/%b 200 OK\r\n\r\nbo" % version)
    peer.write(b"dy")
    await peer.close_politely()
    assert (await call).body == b"body"
    assert road.pool.state().idle == 0


async def test_a_compressed_body_that_its_connection_cuts_off_is_refused(road: Road) -> None:
    call, peer = await road.begun(GET)
    peer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"body")[:-1])
    await peer.close_politely()
    with pytest.raises(InvalidResponse):
        await call
    assert road.pool.state().discarded == {"invalid": 1}


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_tls_connection_that_is_cut_is_not_the_end_of_a_body(new_road: NewRoad, tls: Authority | None) -> None:
    """Of the two loops only uvloop says whether TLS ended as it should."""
    road = await new_road()
    call, peer = await road.begun(GET)
    peer.write(b"HTTP/1.1 200 OK\r\n\r\nbody")
    peer.close()
    if tls is None:
        assert (await call).body == b"body"
    else:
        with pytest.raises(ConnectionBroken):
            await call


async def test_a_reset_is_not_the_end_of_a_body(road: Road) -> None:
    call, peer = await road.begun(GET)
    peer.write(b"HTTP/1.1 200 OK\r\n\r\nbody")
    peer.reset()
    with pytest.raises(ConnectionBroken):
        await call


async def test_a_head(road: Road) -> None:
    road.server.serving(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    for _ in range(2):
        head = await road.pool.send(Request("HEAD", "/a"))
        assert (head.header("Content-Length"), head.body) == ("4", b"")


async def test_a_server_that_speaks_first_is_not_listened_to(plain_road: Road) -> None:
    call = asyncio.create_task(plain_road.get())
    peer = await plain_road.server.accept()
    await peer.request()
    peer.write(b"220 smtp.example.org ESMTP\r\n")
    with pytest.raises(InvalidResponse):
        await call


# the end of the pool


async def test_closing_closes_everything(road: Road) -> None:
    (idle,) = await road.kept()
    call = asyncio.create_task(road.get())
    await idle.request()
    second, busy = await road.begun(GET)
    await road.pool.aclose()
    for each in (call, second):
        with pytest.raises(ConnectionBroken):
            await each
    assert await idle.ended()
    assert await busy.ended()
    with pytest.raises(ConnectFailed):
        await road.get()
    state = road.pool.state()
    assert (state.open, state.idle, state.discarded) == (0, 0, {"pool_closed": 2})


async def test_closing_while_a_connection_is_opened(road: Road) -> None:
    call = asyncio.create_task(road.get())
    await asyncio.sleep(0)
    await road.pool.aclose()
    road.server.serving()
    with pytest.raises(ConnectFailed):
        await call
    await until(lambda: road.pool.state().open == 0)
    assert road.pool.state().discarded == {"pool_closed": 1}
