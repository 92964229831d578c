"""An upstream failure is one clear error at its field; the rest of the response is complete."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from gateway.sandbox import ABSENT, Fault, Sandbox
from gateway.upstream.response import error_codes, parse_retry_after
from tests.harness import Gateway, StartGateway
from tests.selection import PROPERTY_CASES

QUERY = '{ broken: thread(id: "th-1") { id } whole: thread(id: "th-100") { id } }'
ERRORS = b'{"errors": [{"code": "old", "deprecated": true}, {"code": "new"}, {"code": "new"}, {"code": 7}, "?"]}'


def broken(gateway: Gateway, fault: Fault, sandbox: Sandbox) -> dict[str, Any]:
    """Return the only error of a query whose other field succeeds."""
    sandbox.faults.add(fault)
    answer = gateway.query(QUERY)
    assert answer["data"] == {"broken": None, "whole": {"id": "th-100"}}
    (error,) = answer["errors"]
    assert error["path"][0] == "broken"
    assert error["locations"]
    return dict(error)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_USER_INPUT"),
        (403, "FORBIDDEN"),
        (405, "UPSTREAM_ERROR"),
        (408, "UPSTREAM_TIMEOUT"),
        (409, "BAD_USER_INPUT"),
        (422, "BAD_USER_INPUT"),
        (429, "RATE_LIMITED"),
        (500, "UPSTREAM_ERROR"),
        (501, "UPSTREAM_ERROR"),
        (502, "UPSTREAM_UNAVAILABLE"),
        (503, "UPSTREAM_UNAVAILABLE"),
        (504, "UPSTREAM_UNAVAILABLE"),
        (301, "UPSTREAM_INVALID_RESPONSE"),
        (204, "UPSTREAM_INVALID_RESPONSE"),
    ],
)
def test_each_status_has_its_code(gateway: Gateway, sandbox: Sandbox, status: int, code: str) -> None:
    error = broken(gateway, Fault("thread", "th-1", status=status, body=b"" if status == 204 else ERRORS), sandbox)
    assert error["extensions"]["code"] == code
    assert error["extensions"]["upstream"] == {"status": status, "codes": [] if status == 204 else ["new"]}
    assert error["extensions"]["requestId"]


def test_a_401_to_the_callers_own_credentials_is_reported_to_the_caller(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start({"authorization": "Bearer theirs"}, upstream_identity="passthrough")
    answer = gateway.query('{ thread(id: "th-1") { id } }')
    assert answer["data"] == {"thread": None}
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert answer["errors"][0]["extensions"]["upstream"]["status"] == 401
    assert sandbox.count() == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("thread", "th-1", drop="before"), "UPSTREAM_UNAVAILABLE"),
        (Fault("thread", "th-1", drop="mid-body"), "UPSTREAM_UNAVAILABLE"),
        (Fault("thread", "th-1", body=b'{"id": "th-1", "tags": ["a'), "UPSTREAM_INVALID_RESPONSE"),
        (
            Fault("thread", "th-1", body="<html>Bad gateway</html>", content_type="text/html"),
            "UPSTREAM_INVALID_RESPONSE",
        ),
        (Fault("thread", "th-1", body="<html>Bad gateway</html>", status=502), "UPSTREAM_UNAVAILABLE"),
        (Fault("thread", "th-1", body=b""), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b"[]"), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b'"text"'), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b"12"), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b"null"), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b"\xff\xfe"), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b"[" * 100_000), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", body=b'{"id": "\xff"}'), "UPSTREAM_INVALID_RESPONSE"),
        (Fault("thread", "th-1", patch={"id": ABSENT}), "UPSTREAM_INVALID_RESPONSE"),
    ],
)
def test_each_broken_response_has_its_code(gateway: Gateway, sandbox: Sandbox, fault: Fault, code: str) -> None:
    error = broken(gateway, fault, sandbox)
    expected = {} if fault.status is None else {"upstream": {"status": fault.status, "codes": []}}
    assert {key: value for key, value in error["extensions"].items() if key != "requestId"} == {
        "code": code,
        **expected,
    }


def test_an_upstream_that_refuses_connections_is_unavailable(start: StartGateway) -> None:
    gateway = start(upstream_url="http://127.0.0.1:1")
    assert gateway.code('{ thread(id: "th-1") { id } }') == "UPSTREAM_UNAVAILABLE"


def test_an_unknown_host_is_unavailable(start: StartGateway) -> None:
    gateway = start(upstream_url="http://nowhere.invalid")
    assert gateway.code('{ thread(id: "th-1") { id } }') == "UPSTREAM_UNAVAILABLE"


def test_an_operation_at_its_deadline_returns_partial_data(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(operation_timeout=0.3)
    sandbox.faults.add(Fault("thread", "th-1", hold="for ever"))
    answer = gateway.query(QUERY)
    assert answer["data"] == {"broken": None, "whole": {"id": "th-100"}}
    assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_TIMEOUT"
    sandbox.wait_until_idle()
    assert any(call.cancelled for call in sandbox.calls), "the call is cancelled"


def test_an_upstream_that_sends_nothing_times_out(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_read_timeout=0.2)
    sandbox.faults.add(Fault("thread", "th-1", hold="for ever"))
    assert gateway.query(QUERY)["errors"][0]["extensions"]["code"] == "UPSTREAM_TIMEOUT"


def test_a_body_that_stalls_times_out(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_read_timeout=0.2)
    sandbox.faults.add(Fault("thread", "th-1", trickle=5))
    assert gateway.query(QUERY)["errors"][0]["extensions"]["code"] == "UPSTREAM_TIMEOUT"


def test_a_body_over_the_limit_is_refused(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_max_body=4096)
    sandbox.faults.add(Fault("thread", "th-1", body=b'{"id": "' + b"x" * 5000 + b'"}'))
    error = gateway.query(QUERY)["errors"][0]
    assert error["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"
    assert error["message"] == "The REST API's answer is larger than 4096 bytes."


@pytest.mark.parametrize(("asked", "seconds"), [("30", 30), ("Wed, 21 Oct 9998 07:28:00 GMT", 86400)])
def test_rate_limited_has_a_retry_after(gateway: Gateway, sandbox: Sandbox, asked: str, seconds: int) -> None:
    fault = Fault("thread", "th-1", status=429, headers={"retry-after": asked})
    assert broken(gateway, fault, sandbox)["extensions"]["retryAfter"] == seconds


@pytest.mark.parametrize(
    ("patch", "path", "data"),
    [
        ({"message_count": "many"}, ["messageCount"], {"messageCount": None}),
        ({"message_count": 2**31}, ["messageCount"], {"messageCount": None}),
        ({"message_count": []}, ["messageCount"], {"messageCount": None}),
        ({"created_at": 17}, ["createdAt"], {"createdAt": None}),
        ({"status": True}, ["status"], {"status": None}),
        ({"status": {}}, ["status"], {"status": None}),
        ({"reminder": "soon"}, ["reminder"], {"reminder": None}),
        ({"reminder": 7}, ["reminder"], {"reminder": None}),
        ({"reminder": []}, ["reminder"], {"reminder": None}),
        ({"last_message.id": None}, ["lastMessage", "id"], {"lastMessage": None}),
        ({"last_message.attachments": "oops"}, ["lastMessage", "attachments"], {"lastMessage": None}),
        ({"last_message.attachments": {}}, ["lastMessage", "attachments"], {"lastMessage": None}),
        ({"last_message.attachments.0": None}, ["lastMessage", "attachments", 0], {"lastMessage": None}),
        ({"last_message.attachments.1": "x"}, ["lastMessage", "attachments", 1], {"lastMessage": None}),
        ({"last_message.read_by_agents": [1, None]}, ["lastMessage", "readByAgents", 1], {"lastMessage": None}),
        ({"last_message.read_by_agents": [1, "x"]}, ["lastMessage", "readByAgents", 1], {"lastMessage": None}),
    ],
)
def test_a_wrong_value_is_one_error_at_its_nearest_nullable_field(
    gateway: Gateway, sandbox: Sandbox, patch: dict[str, Any], path: list[str | int], data: dict[str, Any]
) -> None:
    document = """{ thread(id: "th-1") {
      messageCount createdAt status reminder { delay } lastMessage { id readByAgents attachments { id } }
    } }"""
    whole = gateway.data(document)["thread"]
    sandbox.faults.add(Fault("thread", patch=patch))
    answer = gateway.query(document)
    assert answer["data"]["thread"] == {**whole, **data}
    (error,) = answer["errors"]
    assert error["path"] == ["thread", *path]
    assert error["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"


@pytest.mark.parametrize("patch", [{"customers": "none"}, {"customers": [None]}, {"tags": [None]}])
def test_an_invalid_list_of_a_thread_nulls_this_thread_only(
    gateway: Gateway, sandbox: Sandbox, patch: dict[str, Any]
) -> None:
    sandbox.faults.add(Fault("thread", "th-1", patch=patch))
    answer = gateway.query("""{
      threads(ids: ["th-100", "th-1"]) { id tags customers { id } } other: thread(id: "th-101") { id }
    }""")
    assert answer["data"]["threads"][0]["id"] == "th-100"
    assert answer["data"]["threads"][1] is None
    assert answer["data"]["other"] == {"id": "th-101"}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UPSTREAM_INVALID_RESPONSE"]


def test_upstream_text_never_reaches_a_client(start: StartGateway, sandbox: Sandbox, upstream: str) -> None:
    """Neither values, messages, the address nor credentials."""
    gateway = start()
    secret = "sEcReT-marker"
    faults = [
        Fault("thread", "th-1", patch={"message_count": secret}),
        Fault("thread", "th-1", status=500, body=f'{{"errors": [{{"code": "c", "message": "{secret}"}}]}}'),
        Fault("thread", "th-1", status=500, body=f'{{"errors": [{{"code": "{secret} with spaces"}}]}}'),
        Fault("thread", "th-1", body=secret),
        Fault("thread", "th-1", drop="before"),
    ]
    for fault in faults:
        sandbox.faults.clear()
        sandbox.faults.add(fault)
        answer = gateway.http.post("/graphql", json={"query": '{ thread(id: "th-1") { messageCount } }'})
        assert "errors" in answer.json()
        for private in (secret, upstream, "127.0.0.1", "sandbox-password", "Traceback"):
            assert private not in answer.text


def test_unknown_fields_of_the_upstream_are_ignored(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", patch={"brand_new": {"deep": [1]}, "last_message.brand_new": 1}))
    assert gateway.data('{ thread(id: "th-1") { id lastMessage { id } } }')["thread"]["id"] == "th-1"


@pytest.mark.parametrize("value", ["Open", "", "ünï", 0, 3, -1, 2**40, 2**70])
@pytest.mark.parametrize(
    ("key", "document"),
    [
        ("status", "status"),
        ("last_message.delivery", "lastMessage { delivery }"),
        ("last_message.origin", "lastMessage { origin }"),
        ("customers.0.account_type", "customers { accountType }"),
    ],
)
def test_values_of_open_enumerations_pass_unchanged(
    gateway: Gateway, sandbox: Sandbox, key: str, document: str, value: str | int
) -> None:
    sandbox.faults.add(Fault("thread", patch={key: value}))
    thread: Any = gateway.data(f'{{ thread(id: "th-1") {{ {document} }} }}')["thread"]
    while isinstance(thread, (dict, list)):
        thread = thread[0] if isinstance(thread, list) else next(iter(thread.values()))
    assert thread == value


@pytest.mark.parametrize("size", [0, 2**31, 2**40, 2**64, 10**30])
def test_file_sizes_beyond_32_bits_work(gateway: Gateway, sandbox: Sandbox, size: int) -> None:
    sandbox.faults.add(Fault("thread", patch={"last_message.attachments.0.file_size": size}))
    data = gateway.data('{ thread(id: "th-1") { lastMessage { attachments { fileSize } } } }')
    assert data["thread"]["lastMessage"]["attachments"][0] == {"fileSize": size}


def test_a_failure_is_an_error_at_every_field_that_needs_the_call(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", status=500))
    answer = gateway.query('{ a: thread(id: "th-1") { id } b: thread(id: "th-1") { id } }')
    assert sorted(error["path"][0] for error in answer["errors"]) == ["a", "b"]
    assert sandbox.count("thread") == 1


def test_a_later_request_is_served_while_another_waits(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="one"))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gateway.query, '{ thread(id: "th-1") { id } }')
        sandbox.wait_for_calls(1, "thread")
        assert gateway.data('{ thread(id: "th-2") { id } }') == {"thread": {"id": "th-2"}}
        sandbox.release("one")
        assert waiting.result() == {"data": {"thread": {"id": "th-1"}}}


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (ERRORS, ("new",)),
        (b'{"errors": [{"code": "old", "deprecated": true}]}', ("old",)),
        (b'{"errors": {"code": "x"}}', ()),
        (b'{"errors": [{"message": "m"}]}', ()),
        (b"<html>", ()),
        (b"", ()),
        (b"[]", ()),
        (b'{"errors": [{"code": "not a code"}, {"code": "https://x.example/?q"}]}', ()),
    ],
)
def test_error_codes_are_the_ones_that_are_not_deprecated(body: bytes, codes: tuple[str, ...]) -> None:
    assert error_codes(body) == codes


@pytest.mark.usefixtures("west_of_utc")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        ("1.2", 2),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40),
        ("Thu, 01 Jan 1970 02:01:40 +0200", 40),
        ("Thu, 01 Jan 1970 00:01:40 -0000", 40),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("86401", 86400),
        ("1e308", 86400),
        ("9" * 400, None),
        ("Wed, 21 Oct 9998 07:28:00 GMT", 86400),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=lambda: 60.0) == seconds


NUMBERS = st.integers() | st.sampled_from([10**9, 10**20, -(10**400), 10**400])
ODD_DATES = st.builds(
    "{}{} {} {} {}:{}:{} {}".format,
    st.sampled_from(["", "Wed, ", "Wednesday, "]),
    NUMBERS,
    st.sampled_from(["Oct", "Feb", "13", ""]),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["GMT", "", "-", "+2400", "-0000", "EST"]) | NUMBERS.map(lambda number: f"+{number}"),
)


@given(header=st.text() | NUMBERS.map(str) | st.floats().map(str) | ODD_DATES)
@given_settings(max_examples=PROPERTY_CASES, deadline=None)
def test_any_retry_after_is_at_most_a_day_or_ignored(header: str) -> None:
    seconds = parse_retry_after(header)
    assert seconds is None or 0 <= seconds <= 86400


def test_integers_of_any_length_in_a_body_cause_no_internal_error(gateway: Gateway, sandbox: Sandbox) -> None:
    longest = 10**308  # the JSON decoder refuses longer ones: the body is then invalid as a whole
    for number in (longest, -longest, 10 * longest - 1, 10**400):
        body = b'{"id": "th-1", "message_count": %d, "attachments": [{"id": "a", "file_size": %d}]}' % (number, number)
        sandbox.faults.add(Fault("thread", body=body, times=1))
        answer = gateway.query('{ thread(id: "th-1") { id messageCount attachments { fileSize } } }')
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"UPSTREAM_INVALID_RESPONSE"}


def test_an_error_body_above_64_kb_is_not_decoded() -> None:
    entry = b'{"code": "late"}'
    assert error_codes(b'{"errors": [' + entry + b"]}") == ("late",)
    assert error_codes(b'{"errors": [' + b"{}," * 30_000 + entry + b"]}") == ()
