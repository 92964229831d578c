"""A write that is under way is neither cancelled by a client that hangs up nor by a worker that drains."""

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from socket import SHUT_RDWR
from typing import Any

import httpx
import pytest

from gateway.auth import Viewer
from gateway.sandbox import Fault, Sandbox
from gateway.upstream.client import CallContext
from gateway.upstream.writes.message import NewMessage
from gateway.upstream.writes.writer import Requested, Writer
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, build_client, settings
from tests.programs import Start, is_open, serving, until
from tests.web.streams.sockets import Socket, begun
from tests.writes.documents import SEND, ask, send

THREAD = {"threadId": "th-1"}


def hang_up(sandbox: Sandbox, url: str, document: str = SEND, **given: Any) -> None:
    """Send a mutation whose message is held, and close the connection once that has arrived."""
    with httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=httpx.Timeout(30, read=0.3)) as client:
        body = {"query": document, "variables": {"input": {**THREAD, **given}}}
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{url}/graphql", json=body)
    sandbox.wait_for_calls(1, route="message")


def test_a_client_that_hangs_up_does_not_cancel_its_write(
    gateway: Gateway, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    sandbox.faults.add(Fault("message", hold="gate"))
    hang_up(sandbox, gateway.url, idempotencyKey="k", content="Hello")
    sandbox.release("gate")
    answer = send(gateway, content="Hello", idempotencyKey="k")
    assert (answer["outcome"], answer["message"]["content"]) == ("APPLIED", "Hello")
    (call,) = [call for call in sandbox.calls if call.route == "message"]
    assert (call.status, call.cancelled) == (204, False)
    lines = [vars(record)["fields"] for record in caplog.records if record.message == "write without client"]
    assert [(line["mutation"], line["outcome"]) for line in lines] == [("createMessage", "APPLIED")]
    assert lines[0]["requestId"]
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_write_without_a_client_that_is_refused_is_in_the_log(
    gateway: Gateway, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    sandbox.faults.add(Fault("message", times=1, hold="gate", status=403))
    hang_up(sandbox, gateway.url, content="Hello")
    sandbox.release("gate")
    until(lambda: "write without client" in caplog.messages, "the outcome is logged")
    (line,) = [vars(record)["fields"] for record in caplog.records if record.message == "write without client"]
    assert (line["mutation"], line["outcome"]) == ("createMessage", "ERROR")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_write_without_a_client_that_breaks_is_in_the_log_with_its_cause(
    upstream: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    cause = RuntimeError("no purge")

    async def publish(_thread: str) -> None:
        raise cause

    sandbox.faults.add(Fault("message", hold="gate"))
    async with build_client(settings(upstream_url=upstream, **SERVICE)) as client:
        writer = Writer(client, publish)
        requested = Requested(NewMessage("th-1", "ext-1", b"{}"), {}, None, "request-1")
        call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
        leaver = asyncio.create_task(writer.perform(requested, call))
        await asyncio.to_thread(sandbox.wait_for_calls, 1, "message")
        leaver.cancel()
        await asyncio.wait([leaver])
        sandbox.release("gate")
        await writer.aclose()
    (line,) = [record for record in caplog.records if record.name == "gateway" and record.levelno >= logging.ERROR]
    assert line.message == "a write failed"
    assert line.exc_info
    assert line.exc_info[1] is cause


def test_a_write_is_read_back_although_its_client_hung_up(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("message", times=1, carry_out=True, hold="gate", drop="before"))
    hang_up(sandbox, gateway.url, idempotencyKey="k", content="Hello")
    sandbox.release("gate")
    assert send(gateway, content="Hello", idempotencyKey="k")["outcome"] == "APPLIED"
    assert sandbox.count("message") == 1


def leave(socket: Socket, how: str) -> None:
    """Leave an operation; a socket is closed by its context."""
    if how == "the operation is completed":
        socket.send({"type": "complete", "id": "1"})
        socket.send({"type": "ping"})
        assert socket.receive() == {"type": "pong"}
    elif how == "the connection is cut":
        socket.connection.socket.shutdown(SHUT_RDWR)


@pytest.mark.parametrize("leaves", ["the socket is closed", "the connection is cut", "the operation is completed"])
@pytest.mark.parametrize("fault", [{}, {"carry_out": True, "drop": "before"}], ids=["answered", "read back"])
def test_a_write_over_a_websocket_is_not_cancelled(
    gateway: Gateway, sandbox: Sandbox, leaves: str, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(Fault("message", times=1, hold="gate", **fault))
    with begun(gateway) as socket:
        socket.subscribe("1", SEND, variables={"input": {**THREAD, "content": "Hello", "idempotencyKey": "k"}})
        sandbox.wait_for_calls(1, route="message")
        leave(socket, leaves)
    sandbox.release("gate")
    answer = send(gateway, content="Hello", idempotencyKey="k")
    assert (answer["outcome"], answer["message"]["content"]) == ("APPLIED", "Hello")
    assert sandbox.count("message") == 1
    assert not any(call.cancelled for call in sandbox.calls if call.route == "message")


TWO = """
mutation M($input: CreateMessageInput!) {
  a: createMessage(input: $input) { outcome }
  b: createChatToken(input: {}) { outcome }
}
"""


@pytest.mark.parametrize(
    "leaves", ["the socket is closed", "the operation is completed"]
)  # the gateway knows it at once
def test_what_follows_in_the_operation_is_not_sent_once_a_socket_waits_no_more(
    gateway: Gateway, sandbox: Sandbox, leaves: str
) -> None:
    sandbox.faults.add(Fault("message", hold="gate"))
    with begun(gateway) as socket:
        socket.subscribe("1", TWO, variables={"input": {**THREAD, "idempotencyKey": "k"}})
        sandbox.wait_for_calls(1, route="message")
        leave(socket, leaves)
    sandbox.release("gate")
    assert send(gateway, idempotencyKey="k")["outcome"] == "APPLIED"
    sandbox.wait_until_idle()
    assert (sandbox.count("message"), sandbox.count("chat_token")) == (1, 0)


def test_what_follows_in_the_operation_is_not_sent_after_a_hang_up(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("message", hold="gate"))
    hang_up(sandbox, gateway.url, TWO, idempotencyKey="k")
    sandbox.release("gate")
    ask(gateway, "k")
    sandbox.wait_until_idle()
    assert (sandbox.count("message"), sandbox.count("chat_token")) == (1, 0)


OPTIONS = {**SERVICE, "mutations": "true", "shutdown_delay": "0", "operation_timeout": "60"}


def test_a_gateway_that_drains_waits_for_a_write_without_a_client(
    begin: Start, sandbox: Sandbox, upstream: str
) -> None:
    program = begin("serve", "--port", "0", upstream_url=upstream, **OPTIONS)
    url = serving(program)
    sandbox.faults.add(Fault("message", hold="gate"))
    hang_up(sandbox, url.removesuffix("/graphql"), content="Hello")
    program.interrupt(signal.SIGTERM)
    until(lambda: not is_open(url), "the listener is closed")
    assert program.process.poll() is None
    sandbox.release("gate")
    program.err.until('"write without client".*"createMessage".*"APPLIED"')
    assert program.end() == 0
    assert [call.status for call in sandbox.calls if call.route == "message"] == [204]


def test_a_gateway_that_drains_answers_the_client_of_a_write(begin: Start, sandbox: Sandbox, upstream: str) -> None:
    program = begin("serve", "--port", "0", upstream_url=upstream, **OPTIONS)
    url = serving(program)
    sandbox.faults.add(Fault("message", hold="gate"))
    body = {"query": SEND, "variables": {"input": THREAD}}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, url, json=body, trust_env=False, timeout=60)
        sandbox.wait_for_calls(1, route="message", timeout=30)
        program.interrupt(signal.SIGTERM)
        until(lambda: not is_open(url), "the listener is closed")
        sandbox.release("gate")
        assert answer.result().json()["data"]["createMessage"]["outcome"] == "APPLIED"
    assert program.end() == 0
