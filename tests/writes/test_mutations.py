"""Mutations without a fault in between: what is sent, what is answered, and what is refused."""

import base64
import json
from typing import Any

import msgspec
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.writes.documents import SEND, TOKEN, UPDATE, send, token, update, writes

FILE = base64.b64encode(b"hello").decode()
MESSAGE = {
    "mailboxId": "mb-1",
    "from": "desk@example.com",
    "fromCustomerId": "c0001",
    "subject": "Hello",
    "content": "<p>Hello 👩🏽‍🚀</p>",
    "delivery": "Sent",
    "priority": 2,
    "read": True,
    "replyToExternalMessageId": "ext-0",
    "setReminder": {"delay": 5, "numberLeft": 1},
    "attachments": [{"name": "a/b ü.txt", "file": FILE}],
}


def sent(sandbox: Sandbox, route: str) -> Any:
    """Return the body of the only write of a route."""
    (body,) = [call.body for call in sandbox.calls if call.route == route]
    return msgspec.json.decode(body)


def test_an_update_is_carried_out_and_shows_the_thread_after_it(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = update(
        gateway,
        comment="Ring back",
        status=7,
        tagCodes=["urgent", "vip"],
        reminder={"delay": 3, "numberLeft": 2},
        customerIds=["c0001"],
        customerExternalIds=["cu-2"],
    )
    thread = answer.pop("thread")
    assert answer == {"outcome": "APPLIED", "userErrors": []}
    assert (thread["status"], thread["tags"]) == (7, ["urgent", "vip"])
    assert thread["reminder"] == {"delay": 3, "numberLeft": 2}
    assert sent(sandbox, "update_thread") == {
        "comment": "Ring back",
        "status": 7,
        "tag_codes": ["urgent", "vip"],
        "reminder": {"delay": 3, "number_left": 2},
        "customer_ids": ["c0001"],
        "customer_external_ids": ["cu-2"],
    }


def test_a_message_is_sent_with_every_field_and_found_again(gateway: Gateway, sandbox: Sandbox) -> None:
    before = gateway.data('{ thread(id: "th-1") { messageCount } }')["thread"]["messageCount"]
    answer = send(gateway, **MESSAGE)
    body = sent(sandbox, "message")
    ext_msg_id = body.pop("ext_msg_id")
    assert answer == {
        "outcome": "APPLIED",
        "userErrors": [],
        "message": {"id": f"th-1-m{before + 1}", "content": MESSAGE["content"], "externalMessageId": ext_msg_id},
        "thread": {"id": "th-1", "messageCount": before + 1},
    }
    assert body == {
        "thread_id": "th-1",
        "mailbox_id": "mb-1",
        "from": "desk@example.com",
        "from_customer_id": "c0001",
        "subject": "Hello",
        "content": MESSAGE["content"],
        "delivery": "Sent",
        "priority": 2,
        "read": True,
        "reply_to_ext_msg_id": "ext-0",
        "set_reminder": {"delay": 5, "number_left": 1},
        "attachments": [{"name": "a/b ü.txt", "file": FILE}],
    }


def test_a_message_that_is_still_in_the_outbox_is_applied_and_not_shown(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.store.outbox_delay = 60
    answer = send(gateway, content="Later")
    assert (answer["outcome"], answer["message"], answer["thread"]["id"]) == ("APPLIED", None, "th-1")


def test_a_message_is_found_in_a_long_thread_although_another_one_came_last(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", patch={"last_message": None}))
    answer = gateway.data(SEND, input={"threadId": "th-long", "content": "One of many"})["createMessage"]
    assert answer["message"]["content"] == "One of many"


def test_a_message_without_a_thread_is_sent(gateway: Gateway) -> None:
    answer = gateway.data(SEND, input={"content": "To nobody"})["createMessage"]
    assert answer == {"outcome": "APPLIED", "userErrors": [], "message": None, "thread": None}


def test_a_token_is_created(gateway: Gateway, sandbox: Sandbox) -> None:
    given = {"emails": ["a@example.com"], "externalId": "cu-1", "from": "Desk", "mailboxId": "mb-1", "tags": ["chat"]}
    answer = token(gateway, **given)
    assert (answer["outcome"], answer["userErrors"]) == ("APPLIED", [])
    assert len(answer["token"]) > 20
    assert answer["expiresAt"] > 1_700_000_000
    assert sent(sandbox, "chat_token") == {
        "emails": ["a@example.com"],
        "external_id": "cu-1",
        "from": "Desk",
        "mailbox_id": "mb-1",
        "tags": ["chat"],
    }


def test_null_is_not_sent(gateway: Gateway, sandbox: Sandbox) -> None:
    update(gateway, comment=None, tagCodes=None, reminder={"delay": None, "numberLeft": 1}, status=3)
    assert sent(sandbox, "update_thread") == {"status": 3, "reminder": {"number_left": 1}}


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "BAD_REQUEST"), (404, "NOT_FOUND"), (409, "CONFLICT"), (413, "TOO_LARGE"), (422, "INVALID")],
)
def test_a_refusal_is_a_user_error_with_the_codes_of_the_rest_api(
    gateway: Gateway, sandbox: Sandbox, status: int, code: str
) -> None:
    html = "<h1>secret text</h1>"
    errors = {"errors": [{"code": "no_such_tag", "message": "secret text", "deprecated": False}]}
    for route, run in (("update_thread", update), ("message", send), ("chat_token", token)):
        sandbox.faults.add(Fault(route, times=1, status=status, body=html))
        sandbox.faults.add(Fault(route, times=1, status=status, body=json.dumps(errors)))
        for expected in (code, "no_such_tag"):
            answer = run(gateway)
            (error,) = answer["userErrors"]
            assert (answer["outcome"], error["code"], error["field"]) == ("NOT_APPLIED", expected, [])
            assert "secret" not in error["message"]
            assert [value for name, value in answer.items() if name not in {"outcome", "userErrors"} and value] == []


def test_a_recipient_who_is_no_contact_is_refused(gateway: Gateway) -> None:
    answer = send(gateway, to="nobody@nowhere.example")
    assert (answer["outcome"], answer["userErrors"][0]["code"]) == ("NOT_APPLIED", "recipient_not_allowed")


def test_a_thread_that_does_not_exist_is_a_user_error(gateway: Gateway) -> None:
    answer = gateway.data(UPDATE, input={"id": "missing", "status": 1})["updateThread"]
    assert (answer["outcome"], answer["userErrors"][0]["code"], answer["thread"]) == (
        "NOT_APPLIED",
        "thread_not_found",
        None,
    )


def test_a_status_that_is_no_number_is_not_sent(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = update(gateway, status="Open")
    assert (answer["outcome"], answer["userErrors"][0]["field"]) == ("NOT_APPLIED", ["status"])
    assert writes(sandbox) == 0


@pytest.mark.parametrize("file", ["not base64!", "aGVsbG8", "a" * 15_000_000])
def test_an_attachment_that_is_wrong_is_not_sent(start: StartGateway, sandbox: Sandbox, file: str) -> None:
    gateway = start(mutations=True, max_body=32 * 1024 * 1024)
    attachments = [{"name": "a", "file": FILE}, {"name": "b", "file": file}]
    answer = send(gateway, attachments=attachments)
    assert answer["outcome"] == "NOT_APPLIED"
    assert [error["field"] for error in answer["userErrors"]] == [["attachments", "1", "file"]]
    assert writes(sandbox) == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "UNAUTHENTICATED"), (403, "FORBIDDEN"), (405, "UPSTREAM_ERROR"), (429, "RATE_LIMITED")],
)
def test_what_is_no_fault_of_the_input_is_a_top_level_error(
    gateway: Gateway, sandbox: Sandbox, status: int, code: str
) -> None:
    gateway.query("{ thread(id: 1) { id } }")  # the gateway has its token
    for route, document, given in (
        ("update_thread", UPDATE, {"id": "th-1"}),
        ("message", SEND, {}),
        ("chat_token", TOKEN, {}),
    ):
        sandbox.faults.add(Fault(route, status=status, headers={"retry-after": "100"}))
        answer = gateway.query(document, input=given)
        (name,) = answer["data"]
        assert answer["data"] == {name: None}
        assert [(error["extensions"]["code"], error["path"]) for error in answer["errors"]] == [(code, [name])]
        assert sandbox.count(route) == 1


def test_a_write_with_a_revoked_token_is_not_sent_again_and_the_next_one_has_a_new_token(
    gateway: Gateway, sandbox: Sandbox
) -> None:
    gateway.query("{ thread(id: 1) { id } }")
    sandbox.accounts.revoke_tokens()
    assert gateway.code(SEND, input={"threadId": "th-1"}) == "UNAUTHENTICATED"
    assert sandbox.count("message") == 1
    assert send(gateway)["outcome"] == "APPLIED"


def test_a_write_is_sent_again_after_a_429_within_the_deadline(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("update_thread", times=1, status=429, headers={"retry-after": "0"}))
    assert update(gateway, tagCodes=["new"])["outcome"] == "APPLIED"
    assert sandbox.count("update_thread") == 2


def test_an_open_circuit_is_a_top_level_error_and_nothing_is_sent(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True, breaker_min_volume=1)
    sandbox.faults.add(Fault("chat_token", status=500))
    assert token(gateway)["outcome"] == "UNKNOWN"
    assert gateway.code(TOKEN, input={}) == "UPSTREAM_UNAVAILABLE"
    assert sandbox.count("chat_token") == 1


def test_fields_run_one_after_another(gateway: Gateway, sandbox: Sandbox) -> None:
    each = 'm{0}: updateThread(input: {{id: "th-1", tagCodes: ["t{0}"]}}) {{ outcome thread {{ tags }} }}'
    document = f"mutation {{ {' '.join(each.format(n) for n in range(5))} }}"
    data = gateway.data(document)
    assert [data[f"m{n}"]["thread"]["tags"] for n in range(5)] == [[f"t{n}"] for n in range(5)]
    assert sandbox.max_concurrent == 1


def test_a_failing_field_takes_nothing_from_those_before_and_after_it(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("message", status=403))
    one = 'updateThread(input: {id: "th-1", tagCodes: ["a"]}) { outcome }'
    answer = gateway.query(f"mutation {{ a: {one} createMessage(input: {{}}) {{ outcome }} b: {one} }}")
    assert answer["data"] == {"a": {"outcome": "APPLIED"}, "createMessage": None, "b": {"outcome": "APPLIED"}}
    assert [error["path"] for error in answer["errors"]] == [["createMessage"]]


@pytest.mark.parametrize("wrong", ["", ".", "a/b", "%2e%2e", "x" * 2000])
def test_an_id_that_is_none_is_refused_and_nothing_is_sent(gateway: Gateway, sandbox: Sandbox, wrong: str) -> None:
    assert gateway.code(UPDATE, input={"id": wrong}) == "BAD_USER_INPUT"
    assert gateway.code(SEND, input={"threadId": wrong}) == "BAD_USER_INPUT"
    assert writes(sandbox) == 0


def test_text_that_is_no_unicode_is_refused(gateway: Gateway, sandbox: Sandbox) -> None:
    body = json.dumps({"query": UPDATE, "variables": {"input": {"id": "th-1", "comment": "\ud800"}}})
    response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code < 500
    assert "errors" in response.json()
    assert writes(sandbox) == 0


def test_the_cost_counts_the_write_and_the_reading_back(gateway: Gateway) -> None:
    def cost(document: str, **variables: Any) -> str:
        response = gateway.http.post("/graphql", json={"query": document, "variables": variables})
        return response.headers["gateway-cost"]

    # A look before, the write, and two looks after it; the thread comes with one of them.
    bare = 'mutation { updateThread(input: {id: "th-1", tagCodes: ["%s"]}) { outcome } }'
    assert cost(bare % "a") == "predicted=4, made=2"
    assert cost('mutation { updateThread(input: {id: "th-1", comment: "a"}) { outcome } }') == "predicted=4, made=1"
    assert cost(SEND, input={"threadId": "th-1"}) == "predicted=11, made=2"
    assert cost("mutation { createChatToken(input: {}) { token } }") == "predicted=1, made=1"
    two = 'mutation { a: updateThread(input: {id: "th-1"}) { thread { messages { totalCount } } } b: %s }'
    assert cost(two % 'updateThread(input: {id: "th-1"}) { thread { id } }').startswith("predicted=11,")


def test_too_costly_mutations_are_refused_before_anything_is_sent(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True, max_cost=6)
    document = "mutation { a: createChatToken(input: {}) { outcome } b: createMessage(input: {}) { outcome } }"
    assert gateway.code(document) == "MAX_COST_LIMIT"
    assert writes(sandbox) == 0
