import asyncio
import socket
import threading
import time

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.sandbox.http.server import STOP_TIMEOUT_SECONDS

LOGIN = (USERNAME, PASSWORD)


def test_a_server_serves_on_a_free_port_of_the_loopback_interface_until_its_context_ends() -> None:
    with BackgroundServer(sandbox_config(Sandbox().app)) as server:
        assert httpx.get(f"{server.url}/_sandbox/health").json() == {"status": "ok"}
        assert server.url == f"http://127.0.0.1:{server.port}"
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_port_can_be_chosen_and_a_taken_one_fails_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            BackgroundServer(sandbox_config(Sandbox().app), port=taken.getsockname()[1])


def test_a_server_stops_in_time_and_aborts_a_request_in_flight() -> None:
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", hold="for ever"))
    errors: list[Exception] = []

    def call() -> None:
        try:
            httpx.get(f"{server.url}/api/v1/thread/th-1", auth=LOGIN)
        except httpx.HTTPError as exc:
            errors.append(exc)

    with BackgroundServer(sandbox_config(sandbox.app), grace=0.05) as server:
        client = threading.Thread(target=call)
        client.start()
        sandbox.wait_for_calls(1)
        leaving = time.monotonic()
    client.join()
    assert time.monotonic() - leaving < STOP_TIMEOUT_SECONDS
    assert [type(error) for error in errors] == [httpx.RemoteProtocolError]
    assert sandbox.calls[0].cancelled


def test_a_response_within_the_grace_period_is_still_delivered() -> None:
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", hold="a moment"))
    answers: list[int] = []

    def call() -> None:
        answers.append(httpx.get(f"{server.url}/api/v1/thread/th-1", auth=LOGIN).status_code)

    with BackgroundServer(sandbox_config(sandbox.app), grace=1.5) as server:
        client = threading.Thread(target=call)
        client.start()
        sandbox.wait_for_calls(1)
        threading.Timer(0.05, sandbox.release, ["a moment"]).start()
    client.join()
    assert answers == [200]


def test_an_app_that_ignores_a_disconnect_is_cancelled() -> None:
    started = threading.Event()
    ended = threading.Event()

    async def stubborn(_scope: Scope, _receive: Receive, _send: Send) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with BackgroundServer(sandbox_config(stubborn), grace=0.05) as server, socket.socket() as client:
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert started.wait(5)
    assert ended.is_set()


def test_a_server_that_cannot_start_raises_in_the_thread_that_starts_it() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("no database")

    config = uvicorn.Config(broken, lifespan="on", log_config=None, log_level="critical")
    with pytest.raises(RuntimeError, match="did not start"):
        BackgroundServer(config).start()


@pytest.mark.slow  # it waits for seconds
def test_with_another_server_a_drop_is_a_500_that_says_what_to_do() -> None:
    sandbox = Sandbox()
    sandbox.faults.add(Fault(drop="before"))
    plain = uvicorn.Config(sandbox.app, lifespan="off", log_config=None, log_level="warning")
    with BackgroundServer(plain) as server:
        answer = httpx.get(f"{server.url}/api/v1/thread/th-1", auth=LOGIN)
    assert answer.status_code == 500
    assert "sandbox_config" in answer.text


async def test_the_app_needs_no_socket() -> None:
    transport = httpx.ASGITransport(Sandbox().app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", auth=LOGIN) as client:
        assert (await client.get("/api/v1/thread/th-%C3%BCn%C3%AF%2Fcode%3F")).json()["id"] == "th-ünï/code?"
