"""``check --drift`` finds every kind with GETs alone, its report has no values, and replays as faults of a sandbox."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from gateway.check import DriftRequest, Finding, Level, check
from gateway.errors import ConfigurationError
from gateway.sandbox import (
    PASSWORD,
    USERNAME,
    BackgroundServer,
    Fault,
    Sandbox,
    Target,
    faults_of_drift,
    sandbox_config,
)
from gateway.upstream.drift.comparison import DriftKind, webhook_drift
from gateway.upstream.drift.report import Learned, build_report
from gateway.web.webhook.body import Reading, read_event
from tests.drift.provoked import PROVOKED
from tests.harness import SERVICE, StartGateway, settings
from tests.programs import Start, outcome, until
from tests.selection import PROPERTY_CASES
from tests.upstream.redis_server import RedisServer

Report = dict[str, Any]
NOTHING_LEARNED = Learned("", "", "", {}, False, {}, {}, [], [])
NAMES = ["data", "threads", "thread_id", "ref", "a b", "customers", "customer_id", "external_id"]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.just("x"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
)
TOKEN = {"upstream_auth": "token"}


@pytest.fixture
def enums(tmp_path: Path) -> Path:
    path = tmp_path / "enums.json"
    path.write_text(json.dumps({"ThreadStatus": {"Open": "Open", "Waiting": "Waiting"}}))
    return path


def search(
    upstream: str, folder: Path, thread: str = "th-1", baseline: Path | None = None, **given: Any
) -> tuple[Report, list[Finding]]:
    """Return the report, and the findings about drift."""
    path = folder / "drift.json"
    chosen = settings(upstream_url=upstream, port=0, **{**SERVICE, **TOKEN, **given})
    found = check(chosen, drift=DriftRequest(thread, path, baseline))
    report: Report = json.loads(path.read_text())
    return report, [each for each in found if each.subject.startswith("drift")]


def places(report: Report) -> list[tuple[str, str, str]]:
    return [(each["kind"], each["path"], each["came"]) for each in report["drift"]]


def expected(kind: DriftKind) -> tuple[str, str, str]:
    return kind.value, PROVOKED[kind].path, PROVOKED[kind].came


def test_a_rest_api_that_follows_the_contract_has_no_drift(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    report, found = search(upstream, tmp_path)
    assert places(report) == []
    assert [each.level for each in found] == [Level.OK]
    assert {call.method for call in sandbox.calls if call.route != "token"} == {"GET"}


IN_A_RESPONSE = [kind for kind in DriftKind if kind is not DriftKind.WEBHOOK_SHAPE]


@pytest.mark.parametrize("kind", IN_A_RESPONSE)
def test_each_kind_is_found_and_its_report_causes_it_again(
    upstream: str, sandbox: Sandbox, tmp_path: Path, enums: Path, kind: DriftKind
) -> None:
    sandbox.faults.add(PROVOKED[kind].fault)
    report, found = search(upstream, tmp_path, enums=enums)
    assert expected(kind) in places(report)
    assert Level.FAIL in [each.level for each in found]
    replayed = Sandbox()
    replayed.faults.add(*faults_of_drift(json.dumps(report).encode()))
    with BackgroundServer(sandbox_config(replayed.app)) as server:
        again, _ = search(server.url, tmp_path, enums=enums)
    assert set(places(report)) <= set(places(again))
    assert "archived" not in json.dumps(report["drift"]), "a difference has no value"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("thread", patch={"customers": {}}), "wrong_type"),
        (Fault("thread", patch={"customers": [None]}), "wrong_type"),
        (Fault("thread", patch={"message_count": 2**40, "colour": [], "last_message.flag": 0.5}), "unknown_field"),
        (Fault("thread", body="[]"), "wrong_type"),
        (Fault("thread", body=""), "not_json"),
        (Fault("messages", patch={"total": 99}), "pagination"),
        (Fault("messages", patch={"total": None}), "pagination"),
        (Fault("messages", patch={"messages.*.id": "same"}), "pagination"),
        (Fault("messages", patch={"messages": [{"id": str(each)} for each in range(50)], "total": 50}), "pagination"),
        (Fault("messages", patch={"messages.*.id": None, "messages.*.extra": {}}), "missing_id"),
        (Fault("customer", status=503, body='{"errors": []}'), "error_shape"),
        (Fault("customer", status=503, body='{"errors": [{"code": 5, "hint": ""}]}'), "error_shape"),
        (Fault("customer", status=502, body="<html>"), "not_json"),
        (Fault("customer", status=402, body="busy"), "unknown_status"),
    ],
)
def test_what_a_report_has_is_caused_again(
    upstream: str, sandbox: Sandbox, tmp_path: Path, fault: Fault, kind: str
) -> None:
    sandbox.faults.add(fault)
    report, _ = search(upstream, tmp_path)
    assert kind in {each[0] for each in places(report)}
    replayed = Sandbox()
    faults = faults_of_drift(json.dumps(report).encode())
    replayed.faults.add(*faults)
    seen: set[tuple[str, str, str]] = set()
    with BackgroundServer(sandbox_config(replayed.app)) as server:
        for _ in faults:
            seen |= set(places(search(server.url, tmp_path)[0]))
    assert set(places(report)) <= seen


def test_an_event_that_was_not_understood_is_found_and_caused_again(
    start: StartGateway, upstream: str, sandbox: Sandbox, tmp_path: Path, redis: RedisServer
) -> None:
    """A gateway keeps its shape in Redis, where `check` finds it."""
    secret = {"webhook_authorization": "Bearer of the webhook", "cache_secret": "sixteen or more letters"}
    chosen: dict[str, Any] = {"cache_url": redis.url, "cache_timeout": 5, **secret}
    gateway = start(**chosen)
    sandbox.faults.add(PROVOKED[DriftKind.WEBHOOK_SHAPE].fault)
    sandbox.webhooks.send_to(Target(f"{gateway.url}/webhooks/gochat", secret["webhook_authorization"]))
    sandbox.store.change_thread("th-1", {"status": 3})
    until(lambda: bool(sandbox.webhooks.posted), "the event is posted")
    report, _ = search(upstream, tmp_path, **chosen)
    assert places(report) == [expected(DriftKind.WEBHOOK_SHAPE)]
    (fault,) = faults_of_drift(json.dumps(report).encode())
    replayed = Sandbox()
    replayed.faults.add(fault)
    reading = read_event(replayed.faults.change_event(b"{}"), 0.0)
    again = webhook_drift(reading.event.code, reading.unknown or ())
    assert (again.kind, again.path, again.came) == expected(DriftKind.WEBHOOK_SHAPE)


def report_of(reading: Reading) -> object:
    return build_report({}, [webhook_drift(reading.event.code, reading.unknown or ())], NOTHING_LEARNED)


@settings_of_hypothesis(max_examples=PROPERTY_CASES, deadline=None)
@given(event=st.dictionaries(st.sampled_from(["data", "event_code", "thread"]), JSON, max_size=3))
def test_any_event_that_is_not_understood_is_caused_again(event: dict[str, Any]) -> None:
    reading = read_event(json.dumps(event).encode(), 0.0)
    if reading.unknown is not None:
        (fault,) = faults_of_drift(msgspec.json.encode(report_of(reading)))
        assert isinstance(fault.body, bytes)
        again = read_event(fault.body, 0.0)
        assert again.unknown == reading.unknown
        assert [*faults_of_drift(msgspec.json.encode(report_of(again)))] == [fault]


def test_what_the_baseline_has_is_no_failure(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("thread", patch={"colour": "red"}))
    report, _ = search(upstream, tmp_path)
    baseline = tmp_path / "before.json"
    baseline.write_text(json.dumps(report))
    _, found = search(upstream, tmp_path, baseline=baseline)
    assert [each.level for each in found] == [Level.WARN, Level.OK]
    sandbox.faults.clear()
    sandbox.faults.add(Fault("thread", patch={"colour": "red", "status": "archived"}))
    report, found = search(upstream, tmp_path, baseline=baseline)
    assert [each.level for each in found] == [Level.FAIL, Level.WARN, Level.OK]
    assert places(report)[0] == ("new_enum_value", "status", "str"), "the baseline has learned the values"


def test_it_learns_what_the_contract_calls_unknown(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("messages", headers={"X-RateLimit-Remaining": "7"}))
    learned = search(upstream, tmp_path, "th-long")[0]["learned"]
    assert learned["messages_order"] == "oldest first"
    assert learned["messages_default_limit"] == "20"
    assert learned["messages_largest_limit"] == "100"
    assert learned["external_message_ids"] is True
    assert learned["token_fields"] == {"access_token": "str", "expires_in": "int", "token_type": "str"}
    assert learned["enumerations"]["ThreadStatus"]
    assert "content-type: application/json" in learned["encodings"]
    assert learned["rate_headers"] == ["x-ratelimit-remaining"]


def test_a_report_has_nothing_of_the_responses(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("thread", patch={"subject of Ada": "Ada", "status": "ada@firm.example", "notes": "Ada"}))
    text = json.dumps(search(upstream, tmp_path)[0])
    thread = json.loads(sandbox.store.thread("th-1", ""))
    assert "notes" in text
    assert [each for each in texts(thread) if len(each) > 6 and each in text] == []
    assert [each for each in ("Ada", "ada@", USERNAME, PASSWORD, "th-1") if each in text] == []


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def test_a_rejected_account_is_tried_only_once(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    chosen = settings(upstream_url=upstream, port=0, **{**SERVICE, **TOKEN, "upstream_password": "wrong"})
    found = check(chosen, drift=DriftRequest("th-1", tmp_path / "drift.json"))
    assert found[-1].subject == "credentials"
    assert sandbox.count("token") == 1
    assert not (tmp_path / "drift.json").exists()


def test_passthrough_has_no_account_to_read_with(upstream: str) -> None:
    found = check(settings(upstream_url=upstream, port=0), drift=DriftRequest("th-1"))[-1]
    assert not found.ok
    assert "cannot be searched in passthrough mode" in found.text


@pytest.mark.parametrize("text", ["", "[]", '{"drift": 1}', '{"version": 1}'])
def test_what_is_no_report_is_refused(upstream: str, tmp_path: Path, text: str) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text)
    with pytest.raises(ConfigurationError, match=r"--baseline: .*wrong\.json is no report of `check --drift`"):
        search(upstream, tmp_path, baseline=wrong)
    with pytest.raises(ValueError, match="it is no report of `check --drift`"):
        faults_of_drift(text.encode())


@pytest.mark.parametrize("came", ["tuple", "", "20x"])
@pytest.mark.parametrize("kind", [each for each in DriftKind if each not in ("unknown_field", "webhook_shape")])
def test_a_report_with_an_unknown_type_is_refused(kind: DriftKind, came: str) -> None:
    difference = {"kind": kind, "route": "thread", "path": "status", "expected": "str", "came": came, "status": 200}
    with pytest.raises(ValueError, match="it is no report of `check --drift`"):
        faults_of_drift(json.dumps({"drift": [difference]}).encode())


def test_a_report_that_cannot_be_written_loses_nothing_else(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("thread", patch={"colour": "red"}))
    path = tmp_path / "missing" / "drift.json"
    found = check(settings(upstream_url=upstream, port=0, **SERVICE), drift=DriftRequest("th-1", path))
    failures = [each for each in found if not each.ok]
    assert [each.subject for each in failures] == ["drift", "--report"]
    assert failures[1].text == f"{path} cannot be written: No such file or directory."


@pytest.mark.parametrize("ident", ["", "..", "th/1", "th-1\n", "\ud800", "a" * 10_000, "%2e%2e"])
@pytest.mark.parametrize("option", ["--drift", "--write"])
def test_what_is_no_id_is_refused_before_anything_is_tried(
    upstream: str, sandbox: Sandbox, option: str, ident: str
) -> None:
    given: dict[str, Any] = {"drift": DriftRequest(ident)} if option == "--drift" else {"write_to": ident}
    with pytest.raises(ConfigurationError, match=f"{option}: .* id"):
        check(settings(upstream_url=upstream, port=0, **SERVICE), **given)
    assert sandbox.count() == 0


def test_a_thread_that_does_not_exist_is_a_failure(upstream: str, tmp_path: Path) -> None:
    """Its 404 is all that was compared, and says nothing of threads."""
    report, found = search(upstream, tmp_path, "no-such-thread")
    assert places(report) == []
    assert [each.level for each in found] == [Level.FAIL, Level.OK]
    assert "the thread could not be read" in found[0].text
    assert report["learned"]["messages_order"] == "unknown: no page of messages was read"


def test_a_customer_whose_id_no_path_can_have_is_left_out(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    customers = [{"id": "1", "external_id": each} for each in ("../../token", "cu-1")]
    sandbox.faults.add(Fault("thread", patch={"customers": customers}))
    report, found = search(upstream, tmp_path)
    assert report["responses"]["customer"] == 1
    assert "An id must not contain `/`" in found[0].text


def test_a_read_without_a_response_is_a_failure(upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Otherwise all would seem well."""
    sandbox.faults.add(Fault("messages", drop="before"))
    report, found = search(upstream, tmp_path)
    assert places(report) == []
    assert {each.text[:54] for each in found if not each.ok} == {
        "a read of messages has no response that could be compa"
    }


def test_an_api_that_does_not_answer_leaves_the_earlier_report_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    path.write_text("an earlier report")
    chosen = settings(upstream_url="http://127.0.0.1:1", port=0, **SERVICE)
    found = check(chosen, drift=DriftRequest("th-1", path))[-1]
    assert (found.level, found.text) == (Level.FAIL, "no response could be compared.")
    assert path.read_text() == "an earlier report"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=200, body="<html>", content_type="text/html"),
        Fault(status=502, body="<html>", content_type="text/html"),
        Fault(body="[" * 100_000),
        Fault(body=b"\xff\x00"),
        Fault(body='{"id": "th-1", "customers": [{"external_id": {}}, 7, null], "messages": [3], "total": "many"}'),
        Fault(status=302, headers={"location": "http://127.0.0.1:1/"}),
        Fault(drop="before"),
    ],
    ids=["a page", "a proxy's page", "nested", "bytes", "other types", "a redirect", "no answer"],
)
def test_whatever_the_api_answers_is_a_finding(upstream: str, sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.add(replace(fault, route="thread"), replace(fault, route="messages"))
    found = check(settings(upstream_url=upstream, port=0, **SERVICE), drift=DriftRequest("th-1"))
    assert [each for each in found if each.subject.startswith("drift") and not each.ok]


def test_the_commands_go_together(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", patch={"colour": "red"}))
    env = {"upstream_url": upstream, "port": "0", **SERVICE}
    alone = begin("check", "--report", "drift.json", **env)
    code, out, err = outcome(begin("check", "--drift", "th-1", "--report", "drift.json", **env))
    assert (code, err) == (1, "")
    assert "FAIL  drift: unknown_field   thread        colour" in out
    other = Sandbox()
    with BackgroundServer(sandbox_config(other.app)) as server:
        known = begin("check", "--drift", "th-1", "--baseline", "drift.json", **env)
        replayed = begin("sandbox", "fault", "--from", "drift.json", "--to", server.url)
        nowhere = begin("sandbox", "fault", "--from", "drift.json", "--to", "http://127.0.0.1:1")
        code, out, err = outcome(replayed)
        assert (code, err) == (0, "")
        assert json.loads(out) == [{"route": "thread", "patch": {"colour": "an invented value"}}]
    assert other.faults.pending() == (Fault("thread", patch={"colour": "an invented value"}),)
    assert outcome(known)[0] == 0
    code, out, err = outcome(nowhere)
    assert (code, out) == (2, "")
    assert "--to: http://127.0.0.1:1 does not take the faults" in err
    code, out, err = outcome(alone)
    assert (code, out) == (2, "")
    assert "--report and --baseline belong to --drift" in err


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
