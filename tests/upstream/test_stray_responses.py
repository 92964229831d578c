"""A REST API, or a balancer before it, that sends a response too many, or drops the connections it kept.

The whole gateway runs between real callers and a server that sends exactly the bytes of a test. What the pool does with
each stray byte is in tests/http1.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.harness import NO_CERTIFICATES, Gateway, StartGateway
from tests.http1.raw_server import Authority, Peer, RawServer, answer

CALLERS = ("Bearer ada", "Bearer bob", "Bearer cy")
DOCUMENT = "query ($id: ID!) { thread(id: $id) { id tags } }"


def thread(request: bytes) -> bytes:
    """Return the thread that a request asks for; its tag is the request's credential."""
    head = request.decode()
    ident = head.split(" ")[1].rpartition("/")[2]
    (owner,) = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("authorization: ")]
    return answer(json.dumps({"id": ident, "tags": [owner]}).encode())


STRAYS = {
    "408": answer(b"", b"408 Request Timeout"),
    "200": answer(json.dumps({"id": "stray", "tags": ["of somebody else"]}).encode()),
}


@dataclass
class Callers:
    """Callers with credentials of their own, in front of one gateway."""

    http: httpx.AsyncClient

    async def ask(self, owner: str, ident: str) -> dict[str, Any]:
        response = await self.http.post(
            "/graphql",
            json={"query": DOCUMENT, "variables": {"id": ident}},
            headers={"authorization": owner, "gateway-explain": "1"},
        )
        assert response.status_code == 200
        answered: dict[str, Any] = response.json()
        return answered

    async def gets_its_own(self, owner: str, ident: str) -> None:
        answered = await self.ask(owner, ident)
        assert "errors" not in answered
        assert answered["data"]["thread"] == {"id": ident, "tags": [owner]}

    async def begin(
        self, server: RawServer, owner: str, ident: str
    ) -> tuple[asyncio.Task[dict[str, Any]], Peer, bytes]:
        """Ask on a new connection; return when the server has read the request."""
        asked = asyncio.create_task(self.ask(owner, ident))
        peer = await server.accept()
        return asked, peer, await peer.request()


Front = Callable[..., contextlib.AbstractAsyncContextManager[tuple[Callers, RawServer]]]


@pytest.fixture(params=["plain", "tls"])
def front(start: StartGateway, authority: Authority, request: pytest.FixtureRequest) -> Front:
    """Start a REST API of raw bytes and a gateway before it, on plain sockets and on TLS."""

    @contextlib.asynccontextmanager
    async def started(**given: Any) -> Any:
        tls = {} if request.param == "plain" else {"upstream_ca_file": authority.folder / "root.pem"}
        async with RawServer(authority.server if tls else None) as server:
            gateway: Gateway = start(
                upstream_url=server.url, upstream_identity="passthrough", explain=True, **tls, **given
            )
            async with httpx.AsyncClient(
                base_url=gateway.url, trust_env=False, verify=NO_CERTIFICATES, timeout=30
            ) as http:
                yield Callers(http), server

    return started


cached = pytest.mark.parametrize("cache", [{}, {"cache_url": "memory://"}], ids=["no cache", "cache"])
stray = pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)


@cached
@stray
@pytest.mark.parametrize("first", [0, 1], ids=["of another caller", "of the same caller"])
async def test_a_stray_response_on_an_idle_connection_reaches_no_caller(
    front: Front, cache: dict[str, str], stray: bytes, first: int
) -> None:
    async with front(**cache) as (callers, server):
        asked, peer, request = await callers.begin(server, CALLERS[first], "th-0")
        peer.write(thread(request))
        await asked
        peer.write(stray)
        server.answering(peer, thread)
        server.serving(thread)
        for _ in range(2):  # the second time from the cache, where there is one
            for number, owner in enumerate(CALLERS[1:] + CALLERS):
                await callers.gets_its_own(owner, f"th-{number}")


@pytest.mark.slow  # it sends hundreds of requests
@cached
@stray
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "behind"])
async def test_a_stray_response_beside_the_true_one_reaches_no_caller(
    front: Front, cache: dict[str, str], stray: bytes, is_first: bool
) -> None:
    """Which of the two is the true one is unknown, so the GET is sent again."""
    async with front(**cache) as (callers, server):
        asked, peer, request = await callers.begin(server, CALLERS[0], "th-0")
        server.serving(thread)
        true = thread(request)
        peer.write(stray + true if is_first else true + stray)
        assert (await asked)["data"]["thread"] == {"id": "th-0", "tags": [CALLERS[0]]}
        for _ in range(2):
            for number, owner in enumerate(CALLERS):
                await callers.gets_its_own(owner, f"th-{number}")


@pytest.mark.slow  # it sends hundreds of requests
@cached
@stray
async def test_a_stray_response_beside_every_true_one_is_an_error_and_not_stored(
    front: Front, cache: dict[str, str], stray: bytes
) -> None:
    async with front(**cache, upstream_retries=1) as (callers, server):
        sends_strays = True
        server.serving(lambda request: stray + thread(request) if sends_strays else thread(request))
        for number, owner in enumerate(CALLERS):
            answered = await callers.ask(owner, f"th-{number}")
            assert [error["extensions"]["code"] for error in answered["errors"]] == ["UPSTREAM_UNAVAILABLE"]
            assert answered["data"]["thread"] is None
        sends_strays = False
        for number, owner in enumerate(CALLERS):
            await callers.gets_its_own(owner, f"th-{number}")


@stray
async def test_a_stray_response_inside_a_body_reaches_no_caller(front: Front, stray: bytes) -> None:
    """The body ends inside the stray response, and bytes follow it: so the GET is sent again."""
    async with front(cache_url="memory://") as (callers, server):
        asked, peer, request = await callers.begin(server, CALLERS[0], "th-0")
        true = thread(request)
        server.answering(peer, thread)
        server.serving(thread)
        peer.write(true[:-10] + stray + true[-10:])
        assert (await asked)["data"]["thread"] == {"id": "th-0", "tags": [CALLERS[0]]}
        for number, owner in enumerate(CALLERS):
            await callers.gets_its_own(owner, f"th-{number}")


@pytest.mark.slow  # it waits for seconds
async def test_thirty_kept_connections_that_are_reset_when_next_used_fail_no_get(front: Front) -> None:
    async with front() as (callers, server):
        calls = [asyncio.create_task(callers.ask(CALLERS[0], f"th-{number}")) for number in range(30)]
        peers = [await server.accept() for _ in calls]
        for peer in peers:
            peer.write(thread(await peer.request()))
        await asyncio.gather(*calls)

        calls = [asyncio.create_task(callers.ask(CALLERS[1], f"th-{number}")) for number in range(30)]
        await asyncio.gather(*(peer.request() for peer in peers))
        server.serving(thread)
        for peer in peers:
            peer.reset()
        answers = await asyncio.gather(*calls)
        assert [each["data"]["thread"] for each in answers] == [
            {"id": f"th-{number}", "tags": [CALLERS[1]]} for number in range(30)
        ]
        attempts = [report["attempts"] for each in answers for report in each["extensions"]["upstream"]]
        assert attempts == [1] * 30, "none of them is a retry"
        assert (await callers.http.get("/ready")).json()["openCircuits"] == []


# an API that speaks HTTP/1.0


async def test_an_api_that_speaks_http_1_0(front: Front) -> None:
    async with front() as (callers, server):
        server.serving(lambda request: thread(request).replace(b"HTTP/1.1", b"HTTP/1.0"))
        for number, owner in enumerate(CALLERS):
            await callers.gets_its_own(owner, f"th-{number}")


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_body_of_http_1_0_that_ends_with_the_connection(front: Front, is_whole: bool) -> None:
    """Where it was cut off it is no JSON. Nothing else says so on a plain socket."""
    async with front(upstream_retries=0) as (callers, server):
        asked, peer, request = await callers.begin(server, CALLERS[0], "th-0")
        body = thread(request).partition(b"\r\n\r\n")[2]
        peer.write(b"HTTP/1.0 200 OK\r\n\r\n" + (body if is_whole else body[:-10]))
        await peer.close_politely()
        answered = await asked
        if is_whole:
            assert answered["data"]["thread"] == {"id": "th-0", "tags": [CALLERS[0]]}
        else:
            assert [each["extensions"]["code"] for each in answered["errors"]] == ["UPSTREAM_INVALID_RESPONSE"]
