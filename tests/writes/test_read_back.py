"""What is said of a write whose response did not come: the truth, whatever became of it."""

import asyncio
from typing import Any

import pytest

from gateway.clock import Timing
from gateway.sandbox import Fault, Sandbox
from gateway.upstream.writes.thread_update import StatusReadings
from tests.harness import Clock, Gateway, StartGateway
from tests.writes.documents import SEND, TOKEN, UPDATE, send, token, update, writes

LOST: dict[str, dict[str, Any]] = {
    "reset": {"drop": "before"},
    "broken off": {"drop": "mid-body", "carry_out": True},
    "500": {"status": 500},
    "502": {"status": 502, "body": "<html>", "content_type": "text/html"},
    "503": {"status": 503, "headers": {"retry-after": "0"}},
    "504": {"status": 504},
    "408": {"status": 408},
    "redirect": {"status": 302, "headers": {"location": "/elsewhere"}},
    "page": {"body": "<html>", "content_type": "text/html"},
    "202": {"status": 202, "body": "{}"},
    "timeout": {"hold": "gate"},
}
CARRIED_OUT = pytest.mark.parametrize("carried_out", [True, False])
AT_ONCE = Timing(sleep=lambda _seconds: asyncio.sleep(0))


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    """A gateway without a pause between two looks, and whose circuits do not open."""
    return start(mutations=True, upstream_read_timeout=1.5, breaker_min_volume=10_000, timing=AT_ONCE)


def lose(sandbox: Sandbox, route: str, lost: str, *, carried_out: bool) -> None:
    """Lose the response to the next write of a route, which is carried out before, or not at all."""
    fault = {"carry_out": carried_out, **LOST[lost]}
    if "hold" in fault and not carried_out:
        fault["status"] = 504  # when the gate opens, at the end of the test
    sandbox.faults.add(Fault(route, times=1, **fault))


def losses(*, carried_out: bool) -> list[str]:
    """Return how a response can get lost. One that is broken off, was carried out."""
    return [lost for lost in LOST if carried_out or lost != "broken off"]


@pytest.mark.slow  # it waits for seconds
@CARRIED_OUT
def test_an_update_is_applied_if_the_thread_shows_it(gateway: Gateway, sandbox: Sandbox, *, carried_out: bool) -> None:
    for number, lost in enumerate(losses(carried_out=carried_out)):
        lose(sandbox, "update_thread", lost, carried_out=carried_out)
        answer = update(gateway, tagCodes=[f"new {lost}"], reminder={"delay": number, "numberLeft": 4})
        assert answer["outcome"] == ("APPLIED" if carried_out else "UNKNOWN"), lost
        assert answer["userErrors"] == []
        assert (answer["thread"]["tags"] == [f"new {lost}"]) is carried_out
        assert sandbox.count("update_thread") == number + 1


@pytest.mark.slow  # it waits for seconds
@CARRIED_OUT
def test_a_message_is_applied_if_it_is_in_its_thread(gateway: Gateway, sandbox: Sandbox, *, carried_out: bool) -> None:
    for number, lost in enumerate(losses(carried_out=carried_out)):
        lose(sandbox, "message", lost, carried_out=carried_out)
        answer = send(gateway, content=f"Hello {lost}")
        assert answer["outcome"] == ("APPLIED" if carried_out else "UNKNOWN"), lost
        assert answer["thread"]["id"] == "th-1"
        assert (answer["message"] is not None) is carried_out
        if carried_out:
            assert answer["message"]["content"] == f"Hello {lost}"
        assert sandbox.count("message") == number + 1


@pytest.mark.slow  # it waits for seconds
@CARRIED_OUT
def test_a_token_is_unknown(gateway: Gateway, sandbox: Sandbox, *, carried_out: bool) -> None:
    for number, lost in enumerate(losses(carried_out=carried_out)):
        lose(sandbox, "chat_token", lost, carried_out=carried_out)
        assert token(gateway) == {"outcome": "UNKNOWN", "userErrors": [], "token": None, "expiresAt": None}, lost
        assert sandbox.count("chat_token") == number + 1


def test_what_the_thread_showed_before_proves_nothing(gateway: Gateway, sandbox: Sandbox) -> None:
    update(gateway, tagCodes=["old"])
    lose(sandbox, "update_thread", "reset", carried_out=True)
    assert update(gateway, tagCodes=["old"])["outcome"] == "UNKNOWN"


@pytest.mark.parametrize("body", ["{}", "[]", '{"id": null}', "<html>"])
def test_a_200_without_the_documented_body_proves_nothing(gateway: Gateway, sandbox: Sandbox, body: str) -> None:
    gateway.query("{ thread(id: 1) { id } }")  # the gateway has its token
    sandbox.faults.add(*(Fault(route, body=body) for route in ("update_thread", "message", "chat_token")))
    assert update(gateway, tagCodes=["new"])["outcome"] == "UNKNOWN"
    assert send(gateway)["outcome"] == "UNKNOWN"
    assert token(gateway)["outcome"] == "UNKNOWN"


def test_a_200_with_an_empty_token_is_no_token(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("chat_token", body='{"token": "", "expires_at": 1}'))
    assert token(gateway) == {"outcome": "UNKNOWN", "userErrors": [], "token": None, "expiresAt": None}


def test_a_thread_that_could_not_be_read_before_proves_nothing(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.query("{ thread(id: 1) { id } }")  # the gateway has its token
    sandbox.faults.add(Fault("thread", status=404, times=1))
    lose(sandbox, "update_thread", "reset", carried_out=True)
    answer = update(gateway, tagCodes=["new"])
    assert (answer["outcome"], answer["thread"]["tags"]) == ("UNKNOWN", ["new"])


def test_a_stale_thread_proves_nothing(start: StartGateway, sandbox: Sandbox, clock: Clock) -> None:
    """What it did not show, another update may have changed since."""
    gateway = start(mutations=True, cache_url="memory://", cache_stale_while_revalidate=60, timing=clock.timing)
    gateway.data('{ thread(id: "th-1") { tags } }')
    update(start(mutations=True), tagCodes=["new"])
    clock.now += 10
    lose(sandbox, "update_thread", "reset", carried_out=False)
    assert update(gateway, tagCodes=["new"])["outcome"] == "UNKNOWN"


def test_a_202_with_a_thread_proves_nothing(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("update_thread", status=202, body='{"id": "th-1"}'))
    assert update(gateway, tagCodes=["new"])["outcome"] == "UNKNOWN"


def test_a_comment_cannot_be_read_back(gateway: Gateway, sandbox: Sandbox) -> None:
    for given in ({"comment": "Hello"}, {"comment": "Hello", "tagCodes": ["new"]}, {}):
        lose(sandbox, "update_thread", "reset", carried_out=True)
        answer = update(gateway, **given)
        assert (answer["outcome"], answer["thread"]["id"]) == ("UNKNOWN", "th-1")


@pytest.mark.parametrize(("given", "reads"), [({"comment": "Hello"}, 1), ({"tagCodes": ["new"]}, 3)])
def test_only_an_update_that_can_be_compared_is_looked_for_twice(
    gateway: Gateway, sandbox: Sandbox, given: dict[str, Any], reads: int
) -> None:
    """The thread that was read last is shown. What can be compared is read once before the update, too."""
    lose(sandbox, "update_thread", "reset", carried_out=False)
    answer = update(gateway, **given)
    assert (answer["outcome"], answer["thread"]["id"]) == ("UNKNOWN", "th-1")
    assert sandbox.count("thread") == reads


def test_how_a_status_reads_back_is_learned_from_answered_updates(gateway: Gateway, sandbox: Sandbox) -> None:
    lose(sandbox, "update_thread", "reset", carried_out=True)
    assert update(gateway, status=2)["outcome"] == "UNKNOWN"
    update(gateway, status=2)
    update(gateway, status=1)
    lose(sandbox, "update_thread", "reset", carried_out=True)
    assert update(gateway, status=2)["outcome"] == "APPLIED"


@pytest.mark.parametrize("read", [None, True, ["Open"], {"code": 1}, 1.5])
def test_what_is_no_status_teaches_nothing(read: object) -> None:
    readings = StatusReadings()
    readings.learn(1, read)
    readings.learn(1, "Open")
    assert readings.reading(1) == "Open"


@pytest.mark.parametrize(
    "fault", [{"status": 404}, {"body": "[]"}, {"body": "<html>"}, {"body": '{"messages": 1}'}, {"body": "{}"}]
)
def test_a_page_that_cannot_be_read_proves_nothing(gateway: Gateway, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    gateway.query("{ thread(id: 1) { id } }")  # the gateway has its token
    lose(sandbox, "message", "reset", carried_out=False)
    sandbox.faults.add(Fault("messages", **fault))
    answer = send(gateway)
    assert (answer["outcome"], answer["message"], answer["thread"]["id"]) == ("UNKNOWN", None, "th-1")
    assert sandbox.count("messages") > 0


def test_a_status_that_reads_back_in_two_ways_is_never_compared(gateway: Gateway, sandbox: Sandbox) -> None:
    update(gateway, status=2)
    sandbox.faults.add(Fault("update_thread", times=1, patch={"status": "Open"}))
    update(gateway, status=2)
    update(gateway, status=1)
    lose(sandbox, "update_thread", "reset", carried_out=True)
    assert update(gateway, status=2)["outcome"] == "UNKNOWN"


@pytest.mark.parametrize(
    "given",
    [
        {"tagCodes": []},
        {"customerIds": ["c0001"]},
        {"customerExternalIds": ["cu-2"]},
        {"reminder": {"delay": 5, "numberLeft": 1}},
    ],
)
def test_lists_and_reminders_are_compared(gateway: Gateway, sandbox: Sandbox, given: dict[str, Any]) -> None:
    update(gateway, tagCodes=["a", "b"], customerIds=["c0000"])
    lose(sandbox, "update_thread", "reset", carried_out=True)
    assert update(gateway, **given)["outcome"] == "APPLIED"


def test_a_write_that_comes_late_is_found_by_the_second_look(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True)
    sandbox.faults.add(Fault("message", times=1, status=504, late=0.1))
    assert send(gateway, content="Late")["outcome"] == "APPLIED"


def test_unknown_is_data_without_errors_although_nothing_can_be_read(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.query("{ thread(id: 1) { id } }")  # the gateway has its token
    sandbox.faults.add(Fault("*", status=503))
    assert update(gateway, tagCodes=["new"]) == {"outcome": "UNKNOWN", "userErrors": [], "thread": None}
    assert send(gateway) == {"outcome": "UNKNOWN", "userErrors": [], "message": None, "thread": None}
    assert writes(sandbox) == 2


@pytest.mark.parametrize("customers", [["a"], 7])
def test_drift_while_reading_back_claims_nothing(gateway: Gateway, sandbox: Sandbox, customers: object) -> None:
    drift = {"tags": 7, "customers": customers, "reminder": [], "external_message_ids": "x", "last_message": 3}
    sandbox.faults.add(Fault("thread", patch=drift), Fault("messages", patch={"messages": {"a": 1}}))
    lose(sandbox, "update_thread", "reset", carried_out=True)
    lose(sandbox, "message", "reset", carried_out=True)
    for document in (
        'updateThread(input: {id: "th-1", tagCodes: ["new"], customerIds: ["c0001"]}) { outcome }',
        'createMessage(input: {threadId: "th-1"}) { outcome }',
    ):
        (answer,) = gateway.data(f"mutation {{ {document} }}").values()
        assert answer == {"outcome": "UNKNOWN"}


def test_a_short_timeout_of_the_caller_leaves_time_to_read_back(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True, headers={"gateway-timeout": "2"})
    sandbox.faults.add(Fault("update_thread", carry_out=True, hold="gate"))
    assert update(gateway, tagCodes=["new"])["outcome"] == "APPLIED"


def test_a_connection_that_cannot_be_opened_is_a_top_level_error(start: StartGateway) -> None:
    gateway = start(
        mutations=True,
        upstream_url="http://127.0.0.1:1",
        upstream_identity="passthrough",
        inbound_auth=None,
        headers={"authorization": "Bearer x"},
    )
    for document, given in ((UPDATE, {"id": "th-1"}), (SEND, {}), (TOKEN, {})):
        assert gateway.code(document, input=given) == "UPSTREAM_UNAVAILABLE"


def test_the_look_before_an_update_leaves_time_for_the_update(start: StartGateway, sandbox: Sandbox) -> None:
    """It may take a quarter of the time: what does not answer a read may well answer the write."""
    gateway = start(mutations=True, operation_timeout=8)
    sandbox.faults.add(Fault("thread", hold="gate"))
    answer = update(gateway, tagCodes=["new"])
    assert (answer["outcome"], answer["thread"]["tags"]) == ("APPLIED", ["new"])
    assert (sandbox.count("thread"), sandbox.count("update_thread")) == (1, 1)
    sandbox.release("gate")
