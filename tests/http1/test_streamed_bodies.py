"""A body that is made while it is sent: the same bytes, as many at a time as the server takes, never half a request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.http1 import ConnectionBroken, Request
from tests.http1.raw_server import answer
from tests.http1.road import Road, until

PIECE = 50_000


@dataclass
class Pieces:
    """A body of so many pieces; ``made`` is how many were asked for, and ``is_ended`` whether nobody asks any more."""

    count: int
    length: int = -1
    made: int = 0
    broken_at: int = -1
    is_ended: bool = False

    def __post_init__(self) -> None:
        if self.length < 0:
            self.length = self.count * PIECE

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                if number == self.broken_at:
                    raise OSError
                self.made += 1
                yield bytes([number % 256]) * PIECE
        finally:
            self.is_ended = True


def post(body: Pieces) -> Request:
    return Request("POST", "/a", body=body)


@pytest.mark.parametrize("count", [0, 1, 100])
async def test_a_streamed_body_arrives(road: Road, count: int) -> None:
    road.server.serving()
    assert (await road.pool.send(post(Pieces(count)))).body == b"/a"
    (request,) = road.server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d" % (count * PIECE) in head
    assert body == b"".join(bytes([number]) * PIECE for number in range(count))
    assert (await road.get("/b")).body == b"/b", "the connection can be used again"
    assert road.pool.state().opened == 1


async def test_no_more_is_made_than_the_server_takes(plain_road: Road) -> None:
    plain_road.server.receive_little()
    body = Pieces(2000)
    call = asyncio.create_task(plain_road.pool.send(post(body)))
    peer = await plain_road.server.accept()
    await peer.head()
    for _ in range(3 * body.count):  # turns of the event loop, in which all of it could be made
        await asyncio.sleep(0)
    assert 0 < body.made < 1000
    plain_road.server.answering(peer)
    call.cancel()
    assert await peer.ended()
    assert body.made < 1000


async def test_an_early_refusal_is_delivered_and_ends_the_connection(plain_road: Road) -> None:
    plain_road.server.receive_little()
    body = Pieces(2000)
    call = asyncio.create_task(plain_road.pool.send(post(body)))
    peer = await plain_road.server.accept()
    await peer.head()
    peer.write(answer(b"no", b"413 Content Too Large"))
    assert (await call).status == 413
    for _ in range(10):  # turns of the event loop
        await asyncio.sleep(0)
    assert body.is_ended, "the rest of the body is not asked for, and its file can be closed"
    assert body.made < body.count
    assert await peer.ended()
    assert plain_road.pool.state().idle == 0


@pytest.mark.parametrize("body", [Pieces(20, broken_at=10), Pieces(20, length=21 * PIECE)], ids=["broken", "short"])
async def test_a_body_that_breaks_off_ends_the_call_and_the_connection(road: Road, body: Pieces) -> None:
    call = asyncio.create_task(road.pool.send(post(body)))
    peer = await road.server.accept()
    assert await peer.ended()
    with pytest.raises(ConnectionBroken) as raised:
        await call
    assert (raised.value.request_sent, raised.value.response_begun) == (True, False)
    assert (road.pool.state().open, road.pool.state().discarded) == (0, {"broken_request": 1})


async def test_no_byte_goes_out_behind_the_length(road: Road) -> None:
    body = Pieces(20, length=10 * PIECE)
    call = asyncio.create_task(road.pool.send(post(body)))
    peer = await road.server.accept()
    assert await peer.ended()
    with pytest.raises(ConnectionBroken):
        await call


async def test_a_connection_that_ends_in_the_body_ends_the_call(plain_road: Road) -> None:
    body = Pieces(2000)
    call = asyncio.create_task(plain_road.pool.send(post(body)))
    peer = await plain_road.server.accept()
    await peer.head()
    peer.reset()
    with pytest.raises(ConnectionBroken):
        await call
    made = body.made
    await until(lambda: plain_road.pool.state().open == 0)
    assert body.made == made


async def test_a_kept_connection_that_is_dead_is_not_given_the_body_again(plain_road: Road) -> None:
    """Only a safe request is sent twice."""
    (peer,) = await plain_road.kept()
    body = Pieces(3)
    call = asyncio.create_task(plain_road.pool.send(post(body)))
    await peer.head()
    peer.reset()
    with pytest.raises(ConnectionBroken):
        await call
