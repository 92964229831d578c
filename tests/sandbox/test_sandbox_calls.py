import socket
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config, seed
from gateway.sandbox.calls import Call, Calls

THREAD = "/api/v1/thread/th-1"

# The server has no TLS, and loading the machine's certificates takes 60 ms per client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

DATA = seed()  # never changed, so all tests share it


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(DATA, clock=lambda: 1234.5)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[BackgroundServer]:
    with BackgroundServer(sandbox_config(sandbox.app)) as running:
        yield running


@pytest.fixture
def client(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as http:
        yield http


def call(route: str = "thread") -> Call:
    return Call(route, "GET", "/", "", {}, 0.0)


def test_a_call_is_logged_with_its_request_caller_and_status(client: httpx.Client, sandbox: Sandbox) -> None:
    client.post("/api/v1/thread/th-%C3%BCn%C3%AF%2Fcode%3F?x=%20y", json={"status": 4}, headers={"X-Request-ID": "r-1"})
    (logged,) = sandbox.calls
    assert (logged.route, logged.method) == ("update_thread", "POST")
    assert (logged.path, logged.query) == ("/api/v1/thread/th-%C3%BCn%C3%AF%2Fcode%3F", "x=%20y")
    assert (logged.status, logged.username, logged.body) == (200, USERNAME, b'{"status":4}')
    assert (logged.headers["x-request-id"], logged.started, logged.cancelled) == ("r-1", 1234.5, False)


def test_the_caller_is_known_for_a_token_and_for_a_login(client: httpx.Client, sandbox: Sandbox) -> None:
    login = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    client.auth = httpx.Auth()  # none
    token = client.post("/api/v1/token", json=login).json()["access_token"]
    client.get(THREAD, headers={"authorization": f"Bearer {token}"})
    client.get(THREAD, headers={"authorization": "Bearer nonsense"})
    client.post("/api/v1/token", content=b"{")
    assert [logged.username for logged in sandbox.calls] == [USERNAME, USERNAME, None, None]


def test_calls_are_counted_by_route_until_they_are_cleared(client: httpx.Client, sandbox: Sandbox) -> None:
    for path in (THREAD, THREAD, f"{THREAD}/messages", "/elsewhere"):
        client.get(path)
    assert (sandbox.count(), sandbox.count("thread"), sandbox.count("unknown")) == (4, 2, 1)
    sandbox.clear()
    assert (sandbox.count(), sandbox.calls) == (0, [])


def test_the_routes_of_the_sandbox_itself_are_not_logged(client: httpx.Client, sandbox: Sandbox) -> None:
    client.get("/")
    client.get("/_sandbox/calls")
    assert sandbox.calls == []


def test_a_held_call_is_logged_at_once_and_its_status_later(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="gate"))
    thread = threading.Thread(target=client.get, args=(THREAD,))
    thread.start()
    sandbox.wait_for_calls(1, route="thread")
    assert [logged.status for logged in sandbox.calls] == [None]
    sandbox.release("gate")
    thread.join()
    assert [logged.status for logged in sandbox.calls] == [200]


def test_the_highest_number_of_concurrent_calls_is_kept(client: httpx.Client, sandbox: Sandbox) -> None:
    for _ in range(3):
        client.get(THREAD)
    assert sandbox.max_concurrent == 1
    sandbox.faults.add(Fault("thread", hold="gate"))
    threads = [threading.Thread(target=client.get, args=(THREAD,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    sandbox.wait_for_calls(7)
    sandbox.release("gate")
    for thread in threads:
        thread.join()
    assert (sandbox.max_concurrent, sandbox.in_flight) == (4, 0)
    sandbox.clear()
    assert sandbox.max_concurrent == 0


@pytest.mark.parametrize(
    "fault", [Fault(hold="gate"), Fault(delay=60), Fault(trickle=60)], ids=["held", "delayed", "trickling"]
)
def test_a_client_that_disconnects_cancels_its_call(server: BackgroundServer, sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.add(fault)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"GET {THREAD} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        sandbox.wait_for_calls(1)
    sandbox.wait_until_idle()
    assert [(logged.cancelled, logged.status) for logged in sandbox.calls] == [(True, None)]


def test_a_client_that_disconnects_during_its_request_cancels_its_call(
    server: BackgroundServer, sandbox: Sandbox
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST /api/v1/message HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        sandbox.wait_for_calls(1)
    sandbox.wait_until_idle()
    assert sandbox.calls[0].cancelled


def test_a_wait_that_times_out_reports_what_arrived(client: httpx.Client, sandbox: Sandbox) -> None:
    client.get(THREAD)
    with pytest.raises(TimeoutError, match=r"2 calls of thread; arrived: \{'thread': 1\}, in flight: 0"):
        sandbox.wait_for_calls(2, route="thread", timeout=0.01)


def test_only_the_last_calls_are_kept_and_all_are_counted() -> None:
    calls = Calls(keep=2)
    tickets = [calls.arrive(call(route)) for route in ("thread", "messages", "customer")]
    for ticket in tickets:
        calls.amend(ticket, body=b"x", username=None)
        calls.finish(ticket, status=200)
    assert [(logged.route, logged.status) for logged in calls.entries()] == [("messages", 200), ("customer", 200)]
    assert calls.count() == 3


def test_only_the_first_end_of_a_call_counts() -> None:
    calls = Calls()
    ticket = calls.arrive(call())
    calls.finish(ticket, status=200)
    calls.finish(ticket, cancelled=True)
    assert [(logged.status, logged.cancelled) for logged in calls.entries()] == [(200, False)]
