import base64
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Sandbox, sandbox_config, seed
from gateway.sandbox.rest_api.outbox import ATTACHMENT_LIMIT

NOON = 1_700_000_000.0

# The server has no TLS, and loading the machine's certificates takes 60 ms per client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

DATA = seed()  # never changed, so all tests share it


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(DATA, clock=lambda: NOON)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with (
        BackgroundServer(sandbox_config(sandbox.app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as http,
    ):
        yield http


def code(answer: httpx.Response) -> str:
    return next(str(error["code"]) for error in answer.json()["errors"] if not error["deprecated"])


def test_every_thread_of_the_seed_is_served_unchanged(client: httpx.Client) -> None:
    for ident, thread in DATA.threads.items():
        answer = client.get(f"/api/v1/thread/{quote(ident, safe='')}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == thread


def test_every_customer_of_the_seed_is_served_unchanged(client: httpx.Client) -> None:
    for external_id, detail in DATA.customers.items():
        assert client.get(f"/api/v1/customers/{quote(external_id, safe='')}").json() == detail


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/v1/thread/th-0", "thread_not_found"),
        ("/api/v1/thread/", "thread_not_found"),
        ("/api/v1/thread/th-1%2F", "thread_not_found"),
        ("/api/v1/thread/th-0/messages", "thread_not_found"),
        ("/api/v1/customers/cu-0", "customer_not_found"),
        ("/api/v1/thread/th-1/", "not_found"),
        ("/api/v1/thread/th-ünï/code?", "not_found"),
        ("/api/v1/thread%2Fth-1", "not_found"),
        ("/api/v2/thread/th-1", "not_found"),
        ("/elsewhere", "not_found"),
    ],
)
def test_an_unknown_id_or_path_is_404_with_the_error_list_of_the_contract(
    client: httpx.Client, path: str, error: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, code(answer)) == (404, error)


def test_an_unsupported_method_is_405_and_names_the_supported_ones(client: httpx.Client) -> None:
    answer = client.delete("/api/v1/thread/th-1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("query", "first", "length"),
    [
        ("", 1, 20),
        ("?offset=10", 11, 20),
        ("?limit=3", 1, 3),
        ("?offset=990&limit=50", 991, 10),
        ("?limit=5000", 1, 100),
        ("?offset=1000", None, 0),
        ("?limit=0", None, 0),
    ],
)
def test_messages_come_in_pages_oldest_first(client: httpx.Client, query: str, first: int | None, length: int) -> None:
    page = client.get(f"/api/v1/thread/th-long/messages{query}").json()
    assert page["total"] == 1000
    assert len(page["messages"]) == length
    assert [message["id"] for message in page["messages"][:1]] == ([f"th-long-m{first}"] if first else [])


@pytest.mark.parametrize("query", ["offset=-1", "limit=x", "limit=", "limit=1.5", "offset=%D9%A3"])
def test_a_malformed_page_is_422(client: httpx.Client, query: str) -> None:
    assert client.get(f"/api/v1/thread/th-long/messages?{query}").status_code == 422


def test_an_update_returns_the_changed_thread_and_keeps_the_rest(client: httpx.Client) -> None:
    before = client.get("/api/v1/thread/th-1").json()
    update = {
        "comment": "done",
        "status": 3,
        "tag_codes": ["a", "b"],
        "reminder": {"delay": 60, "number_left": 1},
        "customer_ids": ["c0001"],
        "customer_external_ids": ["cu-2"],
    }
    after = client.post("/api/v1/thread/th-1", json=update).json()
    assert after == {
        **before,
        "status": 3,
        "tags": ["a", "b"],
        "reminder": {"delay": 60, "number_left": 1, "next_date": None},
        "customers": before["customers"][:2],
        "updated_at": "2023-11-14T22:13:20Z",
    }
    assert client.get("/api/v1/thread/th-1").json() == after


def test_an_empty_update_changes_only_the_time(client: httpx.Client) -> None:
    before = client.get("/api/v1/thread/th-2").json()
    assert client.post("/api/v1/thread/th-2", json={}).json() == {**before, "updated_at": "2023-11-14T22:13:20Z"}


def test_sandboxes_do_not_share_what_was_posted() -> None:
    for _ in range(2):
        with (
            BackgroundServer(sandbox_config(Sandbox(DATA).app)) as server,
            httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as client,
        ):
            assert client.get("/api/v1/thread/th-1").json()["status"] == "Open"
            client.post("/api/v1/thread/th-1", json={"status": 9})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b'{"comment": "\xff"}', 400),
        (b'{"status": "open"}', 422),
        (b'{"title": "x"}', 422),
        (b'{"reminder": {"in": 3}}', 422),
        (b'{"customer_external_ids": ["cu-0"]}', 422),
        (b'{"customer_ids": ["c-0"]}', 422),
    ],
)
def test_a_malformed_update_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    assert client.post("/api/v1/thread/th-1", content=body).status_code == status
    assert client.get("/api/v1/thread/th-1").json() == DATA.threads["th-1"]


def test_a_message_is_accepted_with_204_and_becomes_the_last_of_its_thread(client: httpx.Client) -> None:
    new = {
        "thread_id": "th-1",
        "subject": "🪁",
        "content": "c",
        "from": "desk@kite-works.example",
        "to": "customer1@letters.example, customer2@letters.example",
        "cc": "customer5@letters.example",
        "delivery": "Draft",
        "ext_msg_id": "<x>",
        "reply_to_ext_msg_id": "<y>",
        "set_reminder": {"delay": 5, "number_left": 6},
        "attachments": [{"name": "kite.txt", "file": base64.b64encode(b"string").decode()}],
    }
    answer = client.post("/api/v1/message", json=new)
    assert (answer.status_code, answer.content) == (204, b"")
    thread = client.get("/api/v1/thread/th-1").json()
    last = thread["last_message"]
    assert {name: last[name] for name in ("subject", "content", "from", "to", "cc", "delivery")}.items() <= new.items()
    assert (last["external_message_id"], last["reply_to_external_message_id"]) == ("<x>", "<y>")
    assert [(file["file_name"], file["file_size"]) for file in last["attachments"]] == [("kite.txt", 6)]
    assert thread["message_count"] == 5
    assert thread["reminder"] == {"delay": 5, "number_left": 6, "next_date": None}
    assert client.get("/api/v1/thread/th-1/messages").json()["messages"][-1] == last


def test_a_message_without_a_thread_is_accepted(client: httpx.Client) -> None:
    assert client.post("/api/v1/message", json={"content": "c"}).status_code == 204


@pytest.mark.parametrize(
    ("new", "status", "error"),
    [
        ({"thread_id": "th-0"}, 404, "thread_not_found"),
        ({"thread_id": "th-1", "bcc": "stranger@else.example"}, 422, "recipient_not_allowed"),
        ({"thread_id": "th-3", "to": "customer1@letters.example"}, 422, "recipient_not_allowed"),
        ({"thread_id": "th-1", "attachments": [{"name": "n", "file": "%%%"}]}, 422, "attachment_not_base64"),
        ({"thread_id": "th-1", "attachments": [{"name": "n"}]}, 422, "validation_failed"),
        ({"thread_id": "th-1", "title": "no such field"}, 422, "validation_failed"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_and_not_stored(
    client: httpx.Client, new: dict[str, Any], status: int, error: str
) -> None:
    answer = client.post("/api/v1/message", json=new)
    assert (answer.status_code, code(answer)) == (status, error)
    assert client.get("/api/v1/thread/th-1").json() == DATA.threads["th-1"]


def test_an_attachment_of_ten_megabytes_is_accepted_and_one_byte_more_is_not(client: httpx.Client) -> None:
    for size, status in ((ATTACHMENT_LIMIT, 204), (ATTACHMENT_LIMIT + 1, 422)):
        file = base64.b64encode(bytes(size)).decode()
        answer = client.post(
            "/api/v1/message", json={"thread_id": "th-1", "attachments": [{"name": "n", "file": file}]}
        )
        assert answer.status_code == status


def test_a_chat_token_is_issued_for_an_hour(client: httpx.Client) -> None:
    wanted = {"emails": ["a@b.example"], "external_id": "cu-1", "from": "f", "mailbox_id": "mb-1", "tags": ["t"]}
    token = client.post("/api/v1/chat/token", json=wanted).json()
    assert set(token) == {"expires_at", "token"}
    assert token["expires_at"] == int(NOON) + 3600
    assert client.post("/api/v1/chat/token", json={"mail": "x"}).status_code == 422


def test_a_test_can_serve_its_own_bodies(client: httpx.Client, sandbox: Sandbox) -> None:
    client.get("/api/v1/thread/th-1")
    sandbox.store.put_thread({"id": "th-1", "status": 7}, [{"id": "m"}])
    sandbox.store.put_customer("cu-new", {"customer": None})
    assert client.get("/api/v1/thread/th-1").json() == {"id": "th-1", "status": 7}
    assert client.get("/api/v1/thread/th-1/messages").json() == {"messages": [{"id": "m"}], "total": 1}
    assert client.get("/api/v1/customers/cu-new").json() == {"customer": None}
