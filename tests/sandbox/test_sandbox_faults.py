import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from gateway.sandbox import ABSENT, PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config, seed
from gateway.sandbox.faults import Faults
from gateway.sandbox.faults.patch import patched

THREAD = "/api/v1/thread/th-1"

# The server has no TLS, and loading the machine's certificates takes 60 ms per client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

DATA = seed()  # never changed, so all tests share it


class Naps:
    """Replaces sleeping: records the seconds, and yields to the event loop once."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def sandbox(naps: Naps) -> Sandbox:
    return Sandbox(DATA, sleep=naps)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with (
        BackgroundServer(sandbox_config(sandbox.app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as http,
    ):
        yield http


def statuses(client: httpx.Client, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def test_a_status_comes_with_the_errors_of_the_contract_and_the_given_headers(
    client: httpx.Client, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("thread", status=429, headers={"Retry-After": "2"}))
    answer = client.get(THREAD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert [error["deprecated"] for error in answer.json()["errors"]] == [True, False]


def test_a_status_is_sent_without_a_check_of_the_credentials(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", status=503))
    wrong = {"grant_type": "password", "username": USERNAME, "password": "wrong"}
    assert client.post("/api/v1/token", json=wrong).status_code == 503
    assert sandbox.accounts.wrong_logins() == 0


def test_a_post_with_a_status_fault_has_no_effect(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("update_thread", status=500), Fault("message", drop="before"))
    assert client.post(THREAD, json={"status": 5}).status_code == 500
    with pytest.raises(httpx.ReadError):
        client.post("/api/v1/message", json={"thread_id": "th-1"})
    assert client.get(THREAD).json() == DATA.threads["th-1"]


@pytest.mark.parametrize("body", ["<html>502</html>", '{"id": "th-1', "", "[]", b"\xff\xfe", "null"])
def test_a_body_is_sent_unchanged_with_status_200(client: httpx.Client, sandbox: Sandbox, body: str | bytes) -> None:
    sandbox.faults.add(Fault("thread", body=body, content_type="text/html"))
    answer = client.get(THREAD)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert answer.content == (body if isinstance(body, bytes) else body.encode())


def test_a_status_and_a_body_go_together(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", status=502, body="<h1>Bad gateway</h1>", content_type="text/html"))
    assert client.get(THREAD).text == "<h1>Bad gateway</h1>"


def test_a_content_type_alone_changes_the_ordinary_response(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", content_type="text/plain", headers={"x-cache": "MISS"}))
    answer = client.get(THREAD)
    assert (answer.headers["content-type"], answer.headers["x-cache"]) == ("text/plain", "MISS")
    assert answer.json() == DATA.threads["th-1"]


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_that_has_no_body_keeps_the_connection_in_order(
    client: httpx.Client, sandbox: Sandbox, status: int
) -> None:
    sandbox.faults.add(Fault("thread", status=status, body="not sent", times=1))
    answer = client.get(THREAD)
    assert (answer.status_code, answer.content) == (status, b"")
    assert not {"content-length", "content-type", "transfer-encoding"} & set(answer.headers)
    assert client.get(THREAD).json() == DATA.threads["th-1"]


def test_drop_before_resets_the_connection_and_the_next_call_succeeds(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", drop="before", times=1))
    with pytest.raises(httpx.ReadError, match="reset"):
        client.get(THREAD)
    assert [call.status for call in sandbox.calls] == [None]
    assert client.get(THREAD).status_code == 200


@pytest.mark.parametrize("ident", ["th-1", "th-big"])
def test_drop_mid_body_sends_the_full_length_and_half_of_the_body(
    client: httpx.Client, sandbox: Sandbox, ident: str
) -> None:
    sandbox.faults.add(Fault("thread", drop="mid-body"))
    body = msgspec.json.encode(DATA.threads[ident])
    got: list[bytes] = []
    with client.stream("GET", f"/api/v1/thread/{ident}") as answer:
        assert answer.headers["content-length"] == str(len(body))
        with pytest.raises(httpx.ReadError, match="reset"):
            got.extend(answer.iter_raw())
    assert b"".join(got) == body[: len(body) // 2]


def test_trickle_sends_the_whole_body_in_ten_pieces(client: httpx.Client, sandbox: Sandbox, naps: Naps) -> None:
    sandbox.faults.add(Fault("thread", trickle=0.5))
    assert client.get(THREAD).json() == DATA.threads["th-1"]
    assert naps.taken == [0.5] * 9


def test_faults_cause_no_error_in_the_server_itself(
    client: httpx.Client, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [Fault(status=204), Fault(status=500), Fault(drop="before"), Fault(drop="mid-body"), Fault(trickle=1)]
    for fault in faults:
        sandbox.faults.clear()
        sandbox.faults.add(fault)
        with contextlib.suppress(httpx.ReadError):
            client.get(THREAD)
    sandbox.wait_until_idle()
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_delay_comes_before_anything_else(client: httpx.Client, sandbox: Sandbox, naps: Naps) -> None:
    sandbox.faults.add(Fault("thread", delay=30, status=504))
    assert client.get(THREAD).status_code == 504
    assert naps.taken == [30]


def test_a_patch_changes_adds_and_deletes_at_dotted_paths(client: httpx.Client, sandbox: Sandbox) -> None:
    patch = {
        "message_count": "many",
        "customers.0": None,
        "customers.1.name_variations": ABSENT,
        "last_message.attachments.0": "x",
        "last_message.attachments.1.attachment_movements.movements.0.agent_id": 2**60,
        "attachments.0": ABSENT,
        "brand_new": {"a": [1]},
        "status": ABSENT,
    }
    sandbox.faults.add(Fault("thread", patch=patch))
    expected = DATA.threads["th-1"]
    got = client.get(THREAD).json()
    assert got["message_count"] == "many"
    assert got["customers"][0] is None
    assert "name_variations" not in got["customers"][1]
    assert got["last_message"]["attachments"][0] == "x"
    assert got["last_message"]["attachments"][1]["attachment_movements"]["movements"][0]["agent_id"] == 2**60
    assert got["attachments"] == expected["attachments"][1:]
    assert got["brand_new"] == {"a": [1]}
    assert "status" not in got
    assert got["tags"] == expected["tags"]


def test_a_star_in_a_patch_is_every_item_that_has_the_rest_of_the_path() -> None:
    body = msgspec.json.encode({"a": [{"b": [{"c": 1}, {"d": 2}]}, {"b": []}, {}], "e": [1, 2]})
    changed = patched(body, {"a.*.b.*.c": ABSENT, "a.*.new": 3, "e.*": None})
    assert msgspec.json.decode(changed) == {
        "a": [{"b": [{}, {"d": 2}], "new": 3}, {"b": [], "new": 3}, {"new": 3}],
        "e": [None, None],
    }
    assert msgspec.json.decode(patched(body, {"e.*": ABSENT}))["e"] == []


def test_a_fault_at_the_webhook_changes_events_and_no_response(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(status=503), Fault("webhook", times=1, patch={"event_code": "other"}))
    assert client.get("/api/v1/thread/th-1").status_code == 503
    assert sandbox.faults.change_event(b'{"event_code":"thread_updated"}') == b'{"event_code":"other"}'
    assert sandbox.faults.change_event(b"{}") == b"{}", "a fault at any route is at no event"


def test_a_patch_does_not_change_an_error_response(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", patch={"status": 1}))
    assert "errors" in client.get("/api/v1/thread/th-0").json()


@pytest.mark.parametrize("path", ["customers.9", "nowhere.x", "id.x", "customers.x", "tags.-99", "gone"])
def test_a_patch_of_an_unknown_path_is_a_500_that_names_it(client: httpx.Client, sandbox: Sandbox, path: str) -> None:
    sandbox.faults.add(Fault("thread", patch={path: ABSENT}))
    answer = client.get(THREAD)
    assert answer.status_code == 500
    assert path in answer.json()["errors"][1]["message"]


def test_a_fault_applies_to_its_route_and_its_id(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-ünï/code?", status=503), Fault("messages", status=500))
    encoded = "/api/v1/thread/th-%C3%BCn%C3%AF%2Fcode%3F"
    assert statuses(client, THREAD, encoded, f"{THREAD}/messages", "/api/v1/customers/cu-1") == [200, 503, 500, 200]


def test_faults_are_used_in_the_order_added_and_each_is_counted_down(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=2, status=503), Fault(times=1, status=500))
    assert statuses(client, THREAD, THREAD, THREAD, THREAD) == [503, 503, 500, 200]
    assert sandbox.faults.pending() == ()


def test_a_fault_without_a_number_of_times_stays_until_it_is_cleared(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(status=503))
    assert statuses(client, THREAD, THREAD, "/elsewhere") == [503, 503, 503]
    sandbox.faults.clear()
    assert statuses(client, THREAD) == [200]


def test_pending_shows_how_often_a_fault_still_applies() -> None:
    faults = Faults()
    faults.add(Fault("thread", times=3, status=503))
    faults.take("thread", "th-1")
    assert faults.pending() == (Fault("thread", times=2, status=503),)


def test_held_requests_wait_until_they_are_released(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="gate"))
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.extend(statuses(client, THREAD))) for _ in range(3)]
    for thread in threads:
        thread.start()
    sandbox.wait_for_calls(3, route="thread")
    assert (sandbox.in_flight, answers) == (3, [])
    sandbox.release("gate")
    for thread in threads:
        thread.join()
    assert answers == [200] * 3


def test_a_released_gate_stays_open_until_a_fault_closes_it_again(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="gate"))
    sandbox.release("gate")
    assert statuses(client, THREAD) == [200]
    sandbox.faults.clear()
    sandbox.faults.add(Fault("thread", hold="gate"))
    thread = threading.Thread(target=lambda: statuses(client, THREAD))
    thread.start()
    sandbox.wait_for_calls(2)
    assert sandbox.in_flight == 1
    sandbox.faults.clear()  # releases it as well
    thread.join()


def test_releasing_an_unknown_name_is_an_error(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(hold="gate"))
    with pytest.raises(KeyError, match=r"gaet.*gate"):
        sandbox.release("gaet")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"route": "threads"}, "unknown route 'threads'; allowed: .*'thread'"),
        ({"rout": "thread"}, r"unknown field \['rout'\]; allowed: .*'route'"),
        ({"drop": "after"}, "unknown drop 'after'; allowed: .*'mid-body'"),
        ({"route": "token", "match": "th-1"}, "'token' has no id to match; those that have: .*'customer'"),
        ({"times": 0}, "times is 0; allowed: 1 or more"),
        ({"times": "2"}, "times is '2'; allowed: int or None"),
        ({"times": True}, "times is True"),
        ({"status": 99}, "status is 99; allowed: 200 to 599"),
        ({"status": 200, "patch": {"a": 1}}, "patch .* excludes status and body"),
        ({"delay": -1}, "seconds, 0 or more"),
        ({"delay": "1"}, "delay is '1'; allowed: int or float"),
        ({"headers": {"retry-after": 1}}, "'retry-after': 1; both must be str"),
        ({"body": {"a": 1}}, "body is .*; allowed: str or bytes or None"),
        (["thread"], "a fault is a JSON object"),
    ],
)
def test_an_invalid_fault_is_refused_with_what_is_allowed(form: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.from_json(form)


def test_a_fault_survives_its_json_form() -> None:
    fault = Fault("thread", "th-1", times=2, delay=0.5, patch={"a.b": ABSENT, "c": None}, headers={"x": "y"})
    form = msgspec.json.decode(msgspec.json.encode(fault.to_json()))
    assert form["patch"] == {"a.b": {"__absent__": True}, "c": None}
    assert Fault.from_json(form) == fault


def test_bytes_that_are_not_utf_8_are_written_in_base64() -> None:
    assert Fault(body=b"text").to_json()["body"] == "text"
    assert Fault(body=b"\xff").to_json()["body"] == "base64:/w=="
