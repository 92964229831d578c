"""Graceful shutdown: the gateway is unready at once, serves for the delay, and completes accepted requests."""

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.programs import Start, is_open, serving, until

THREAD = {"query": '{ thread(id: "th-1") { id } }'}
IN_PARTS = {"query": '{ thread(id: "th-1") { id ... @defer { messages { totalCount } } } }'}


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url.removesuffix("/graphql"), trust_env=False, verify=NO_CERTIFICATES, timeout=30)


def test_sigterm_makes_it_unready_at_once_and_completes_requests_in_flight(
    begin: Start, upstream: str, sandbox: Sandbox
) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="1")
    url = serving(program)
    sandbox.faults.add(Fault("thread", hold="slow", times=1))
    with ThreadPoolExecutor(1) as pool, client(url) as slow, client(url) as kept:
        assert kept.get("/ready").status_code == 200
        under_way = pool.submit(slow.post, "/graphql", json=THREAD)
        sandbox.wait_for_calls(1, route="thread")
        program.interrupt(signal.SIGTERM)
        program.err.until("shutting down")
        readiness = kept.get("/ready")
        assert (readiness.status_code, readiness.json()["checks"]["shutdown"]) == (503, "draining")
        assert readiness.headers["connection"] == "close"
        assert kept.get("/health").status_code == 200
        answer = kept.post("/graphql", json=THREAD)
        assert (answer.json(), answer.headers["connection"]) == ({"data": {"thread": {"id": "th-1"}}}, "close")
        until(lambda: not is_open(url), "the listener is closed after the delay")
        sandbox.release("slow")
        assert under_way.result().json() == {"data": {"thread": {"id": "th-1"}}}
        assert under_way.result().headers["connection"] == "close"
    assert program.end() == 0


def test_a_request_on_an_idle_connection_is_answered_while_the_listener_closes(begin: Start, upstream: str) -> None:
    """A client may send a request at the moment the server stops, so idle connections stay open a little longer."""
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="0")
    url = serving(program)
    with client(url) as kept:
        assert kept.get("/health").status_code == 200
        program.interrupt(signal.SIGTERM)
        program.err.until("Shutting down")
        answer = kept.post("/graphql", json=THREAD)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert program.end() == 0


def test_incremental_delivery_is_completed(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    settings = {**SERVICE, "upstream_url": upstream, "shutdown_delay": "0", "incremental": "true"}
    program = begin("serve", "--port", "0", **settings)
    url = serving(program)
    sandbox.faults.add(Fault("messages", hold="messages", times=1))
    with client(url) as http:
        headers = {"accept": "multipart/mixed, application/json"}
        with http.stream("POST", "/graphql", json=IN_PARTS, headers=headers) as answer:
            pieces = answer.iter_text()
            first = next(pieces)
            assert '"id":"th-1"' in first
            program.interrupt(signal.SIGTERM)
            program.err.until("Shutting down")
            sandbox.release("messages")
            following = "".join(pieces)
    assert '"totalCount":4' in following
    assert (first + following).rstrip().endswith("-----")
    assert program.end() == 0


def test_ctrl_c_ends_the_delay_at_once(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="3600")
    url = serving(program)
    with client(url) as http:
        http.get("/health")
        program.interrupt(signal.SIGTERM)
        program.err.until("shutting down")
        program.interrupt(signal.SIGTERM)
        assert http.get("/health").status_code == 200, "a second SIGTERM changes nothing"
    program.interrupt(signal.SIGINT)
    assert program.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_answered_operation_is_in_the_log_when_the_program_has_ended(
    begin: Start, upstream: str, workers: str
) -> None:
    """Lines wait for others of the same moment. None may still wait when the process ends."""
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="0", workers=workers)
    url = serving(program)

    def ask(_number: int) -> str:
        with client(url) as http:
            return http.post("/graphql", json=THREAD).headers["x-request-id"]

    with ThreadPoolExecutor(8) as pool:
        answered = set(pool.map(ask, range(40)))
        program.interrupt(signal.SIGTERM)
    assert program.end() == 0
    lines = [json.loads(line) for line in program.err.all().splitlines()]
    assert {each["requestId"] for each in lines if each["message"] == "operation"} == answered


def test_a_request_that_never_ends_is_aborted_at_the_shutdown_timeout(begin: Start, upstream: str) -> None:
    """A client that stops in the middle of its request does not block the shutdown."""
    timeouts = {"operation_timeout": "1", "shutdown_timeout": "1", "shutdown_delay": "0"}
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, **timeouts)
    address = urlsplit(serving(program))
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as half:
        half.sendall(
            b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        program.interrupt(signal.SIGTERM)
        assert program.end() == 0
    assert all(isinstance(json.loads(line), dict) for line in program.err.rest().splitlines())
