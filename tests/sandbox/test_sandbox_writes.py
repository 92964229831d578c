"""What becomes of a write when a fault hits it, and how long a message stays in the outbox."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config, seed
from gateway.sandbox.faults.fault import FaultError

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
THREAD = "/api/v1/thread/th-1"
DATA = seed()


class Clock:
    """Seconds that only the test moves on; whoever sleeps wakes when the test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.woken = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, _seconds: float) -> None:
        await self.woken.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(DATA, clock=clock, sleep=clock.sleep)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with (
        BackgroundServer(sandbox_config(sandbox.app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as http,
    ):
        yield http


def send(client: httpx.Client, ext_msg_id: str = "ext-1") -> int:
    return client.post("/api/v1/message", json={"thread_id": "th-1", "ext_msg_id": ext_msg_id}).status_code


def arrived(client: httpx.Client) -> list[Any]:
    messages = client.get(f"{THREAD}/messages?limit=100").json()["messages"]
    return [each["external_message_id"] for each in messages if str(each.get("external_message_id")).startswith("ext")]


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"drop": "mid-body"}, {"status": 502}, {"body": "<html>"}])
def test_a_write_is_carried_out_before_the_fault_if_that_is_asked(
    client: httpx.Client, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(Fault("update_thread", carry_out=True, **fault))
    try:
        answer = client.post(THREAD, json={"tag_codes": ["new"]})
        assert answer.status_code == fault.get("status", 200)
    except httpx.TransportError:
        assert "drop" in fault
    assert client.get(THREAD).json()["tags"] == ["new"]


def test_an_answer_without_a_body_is_broken_off_in_its_status_line(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("message", drop="mid-body"))
    with pytest.raises(httpx.TransportError):
        send(client)
    assert arrived(client) == ["ext-1"]


def test_a_write_is_carried_out_once_although_a_delay_follows(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("message", carry_out=True, hold="gate"))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/api/v1/message", json={"thread_id": "th-1", "ext_msg_id": "ext-1"}, timeout=0.2)
    assert arrived(client) == ["ext-1"]


def test_a_late_write_is_carried_out_after_its_answer(client: httpx.Client, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.faults.add(Fault("message", status=504, late=30))
    assert send(client) == 504
    assert arrived(client) == []
    clock.woken.set()
    while not arrived(client):
        pass
    assert arrived(client) == ["ext-1"]


def test_a_late_write_that_would_happen_twice_is_refused() -> None:
    for wrong in ({"late": 1.0}, {"late": 1.0, "status": 502, "carry_out": True}, {"late": -1.0, "status": 502}):
        with pytest.raises(FaultError, match="late"):
            Fault("message", **wrong)  # type: ignore[arg-type]  # the fields differ in their types


def test_a_message_leaves_the_outbox_after_its_delay(client: httpx.Client, clock: Clock) -> None:
    assert client.put("/_sandbox/outbox", json={"delay": 60}).status_code == 204
    assert send(client) == 204
    before = client.get(THREAD).json()
    clock.now += 59
    assert (arrived(client), client.get(THREAD).json()) == ([], before)
    clock.now += 1
    after = client.get(THREAD).json()
    assert arrived(client) == ["ext-1"]
    assert after["message_count"] == before["message_count"] + 1
    assert after["last_message"]["external_message_id"] == after["external_message_ids"][-1] == "ext-1"


def test_a_message_that_is_refused_is_not_in_the_outbox(client: httpx.Client, clock: Clock) -> None:
    client.put("/_sandbox/outbox", json={"delay": 60})
    refused = {"thread_id": "th-1", "ext_msg_id": "ext-1", "to": "nobody@nowhere.example"}
    assert client.post("/api/v1/message", json=refused).status_code == 422
    clock.now += 60
    assert arrived(client) == []


@pytest.mark.parametrize("body", [b"{}", b'{"delay": -1}', b"nonsense"])
def test_a_wrong_outbox_is_refused(client: httpx.Client, body: bytes) -> None:
    assert client.put("/_sandbox/outbox", content=body).status_code == 422
