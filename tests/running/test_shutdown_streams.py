"""Open streams at a graceful shutdown: they end in ways after which clients come back, and new ones are refused so."""

import asyncio
import json
import signal
import threading
import time
from typing import Any

import httpx

from gateway.sandbox import Fault, Sandbox
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway
from tests.live.proofs.streams import Stream, Watch, any_result, watch
from tests.programs import Start, serving
from tests.web.streams.responses import EVENTS, PARTS, events_of, parts_of, streamed
from tests.web.streams.sockets import begun, opened

WATCH = 'subscription { threadUpdated(id: "th-1") { id } }'
STATE = {"data": {"threadUpdated": {"id": "th-1"}}}


def gateway_at(url: str) -> Gateway:
    base = url.removesuffix("/graphql")
    return Gateway(httpx.Client(base_url=base, trust_env=False, verify=NO_CERTIFICATES, timeout=30), base)


def test_open_streams_are_ended_and_new_ones_refused(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="3")
    gateway = gateway_at(serving(program))
    with (
        gateway.http,
        streamed(gateway, WATCH, EVENTS) as sse,
        streamed(gateway, WATCH, PARTS) as multipart,
        begun(gateway) as socket,
        begun(gateway) as busy,
    ):
        events, parts = events_of(sse), parts_of(multipart)
        assert [next(events).type, next(events).type] == ["", "next"]
        assert next(parts) == {"payload": STATE}
        socket.subscribe("1", WATCH)
        assert socket.receive()["type"] == "next"
        sandbox.faults.add(Fault("thread", "th-2", hold="slow"))
        busy.subscribe("1", '{ thread(id: "th-2") { id } }')
        sandbox.wait_for_calls(1, "token")
        program.interrupt(signal.SIGTERM)
        program.err.until("shutting down")

        refused = gateway.http.post("/graphql", json={"query": WATCH}, headers=EVENTS)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_INTERRUPTED"
        assert gateway.data('{ thread(id: "th-1") { id } }') == {"thread": {"id": "th-1"}}, "queries are answered"
        with opened(gateway) as late:
            assert late.closed() == (1012, "The gateway is shutting down")

        assert [each.type for each in events] == [], "without `complete` the client connects again"
        *_heartbeats, last = parts
        assert last["payload"] is None
        assert last["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_INTERRUPTED"
        assert socket.closed() == (1012, "The gateway is shutting down")
        sandbox.release("slow")
        assert busy.receive()["payload"] == {"data": {"thread": {"id": "th-2"}}}, "a query is answered first"
        assert busy.receive() == {"id": "1", "type": "complete"}
        assert busy.closed() == (1012, "The gateway is shutting down")
    assert program.end() == 0


def test_ctrl_c_ends_streams_at_once(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="60")
    gateway = gateway_at(serving(program))
    with gateway.http, streamed(gateway, WATCH, EVENTS) as sse, begun(gateway) as socket:
        events = events_of(sse)
        assert [next(events).type, next(events).type] == ["", "next"]
        program.interrupt(signal.SIGINT)
        assert socket.closed()[0] == 1012
        assert list(events) == []
    assert program.end() == 0


def test_workers_end_their_streams(begin: Start, upstream: str) -> None:
    """Each worker gets the signal from its supervisor, and no stream is left behind."""
    program = begin("serve", "--port", "0", "--workers", "2", **SERVICE, upstream_url=upstream, shutdown_delay="1")
    gateway = gateway_at(serving(program))
    codes: list[Any] = []

    def watch() -> None:
        with begun(gateway) as socket:
            socket.subscribe("1", WATCH)
            assert socket.receive()["type"] == "next"
            ready.release()
            codes.append(socket.closed()[0])

    ready = threading.Semaphore(0)
    clients = [threading.Thread(target=watch) for _ in range(8)]
    with gateway.http:
        for each in clients:
            each.start()
        for _ in clients:
            assert ready.acquire(timeout=30)
        program.interrupt(signal.SIGTERM)
        for each in clients:
            each.join(30)
    assert codes == [1012] * len(clients), json.dumps(codes)
    assert program.end() == 0


def test_streams_end_one_after_another_over_the_delay(begin: Start, upstream: str) -> None:
    """Clients come back at once: all together would be too many for the gateways that stay."""
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="3")
    url = serving(program).removesuffix("/graphql")

    async def watch_the_end() -> list[tuple[float, int]]:
        sockets = [await watch(url, Watch(WATCH)) for _ in range(30)]
        for each in sockets:
            await each.until(any_result)
        program.interrupt(signal.SIGTERM)
        return await asyncio.gather(*(_end(each) for each in sockets))

    ends = asyncio.run(watch_the_end())
    assert {code for _, code in ends} == {1012}
    assert max(ends)[0] - min(ends)[0] > 1
    assert program.end() == 0


async def _end(socket: Stream) -> tuple[float, int]:
    """Return when a socket was closed, and with which code."""
    code = await asyncio.wait_for(socket.closed, 60)
    return time.monotonic(), code
