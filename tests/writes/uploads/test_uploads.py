"""Files as parts of a multipart request (GraphQL multipart request specification) reach the REST API as they are."""

import base64
import json
import random
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.programs import until
from tests.writes.documents import SEND, send
from tests.writes.uploads.forms import (
    BOUNDARY,
    PREFLIGHT,
    Part,
    arrived,
    file,
    file_map,
    form,
    operations,
    places,
    post,
    sent,
    upload,
)

_RANDOM = random.Random(7)  # noqa: S311 - no secret
CONTENTS = [_RANDOM.randbytes(size) for size in (0, 1, 2, 3, 4096, 700_001)]


def open_files() -> list[str]:
    """Return the unnamed files that this process has open."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(each.readlink()))
        except FileNotFoundError:  # the descriptor of the folder itself
            continue
    return [link for link in links if link.endswith("(deleted)") and "/memfd:" not in link]


def until_closed(before: list[str]) -> None:
    """Wait until only the files from before are open: a client has its answer a moment before they are closed."""
    until(lambda: open_files() == before, "the files are closed")


def test_the_exact_bytes_arrive(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = sent(gateway, upload(CONTENTS, content="Hello"))
    assert answer["outcome"] == "APPLIED"
    assert arrived(sandbox) == [(f"{number}.bin", content) for number, content in enumerate(CONTENTS)]
    (call,) = [call for call in sandbox.calls if call.route == "message"]
    assert int(call.headers["content-length"]) == len(call.body)


def test_contents_that_look_like_a_boundary_arrive(gateway: Gateway, sandbox: Sandbox) -> None:
    contents = [
        f"\r\n--{BOUNDARY[:-1]}\r\n--{BOUNDARY[:-1]}X--\r\n\r\n".encode() * 3000,
        f"--{BOUNDARY}--".encode(),
        b"\r\n" * 5000 + b"\r",
        b"--\r\n--",
    ]
    sent(gateway, upload(contents))
    assert [content for _, content in arrived(sandbox)] == contents


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Überweisung 🪁 дом.pdf", "Überweisung 🪁 дом.pdf"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("/etc/passwd", "/etc/passwd"),
        ("C:\\dir\\", "C:\\dir\\"),
        ("say %22no%22; x=1.txt", 'say "no"; x=1.txt'),
        ('say \\"no\\".txt', 'say "no".txt'),
        ("back\\\\slash.txt", "back\\slash.txt"),
        ("a%0D%0Ab", "a\r\nb"),
        ("100%.txt", "100%.txt"),
        (".", "."),
    ],
)
def test_a_name_is_kept_exactly(gateway: Gateway, sandbox: Sandbox, written: str, name: str) -> None:
    sent(gateway, upload([b"x"], written))
    assert arrived(sandbox) == [(name, b"x")]


def test_a_name_may_be_extended(gateway: Gateway, sandbox: Sandbox) -> None:
    """``filename*`` of RFC 8187, which some clients send."""
    extended = Part("0", b"x", "; filename=\"?\"; filename*=UTF-8'en'%F0%9F%AA%81%20it's.txt")
    sent(gateway, [operations(), file_map(*places(1)), extended])
    assert arrived(sandbox) == [("🪁 it's.txt", b"x")]


def test_a_given_name_comes_first(gateway: Gateway, sandbox: Sandbox) -> None:
    parts = upload([b"x"], "part.txt", attachments=[{"name": "given.txt", "upload": None}])
    sent(gateway, parts)
    assert arrived(sandbox) == [("given.txt", b"x")]


def test_an_upload_stands_beside_base64(gateway: Gateway, sandbox: Sandbox) -> None:
    encoded = {"name": "base64.txt", "file": base64.b64encode(b"one").decode()}
    parts = [
        operations(attachments=[encoded, {"upload": None}]),
        file_map("variables.input.attachments.1.upload"),
        file("0", b"two", "upload.txt"),
    ]
    sent(gateway, parts)
    assert arrived(sandbox) == [("base64.txt", b"one"), ("upload.txt", b"two")]


def test_a_client_library_sends_an_upload(gateway: Gateway, sandbox: Sandbox) -> None:
    fields = {"operations": operations(2).content, "map": file_map(*places(2)).content}
    files = {"0": ('Ä "q" \\.txt', b"one"), "1": ("b", b"two")}
    response = gateway.http.post("/graphql", data=fields, files=files, headers={"gateway-require-preflight": "1"})
    assert response.json()["data"]["createMessage"]["outcome"] == "APPLIED"
    assert arrived(sandbox) == [('Ä "q" \\.txt', b"one"), ("b", b"two")]


@pytest.mark.parametrize("variable", ["$file: Upload", "$file: Upload!"])
def test_a_variable_may_be_the_upload_itself(gateway: Gateway, sandbox: Sandbox, variable: str) -> None:
    document = (
        f"mutation M({variable}) "
        '{ createMessage(input: {threadId: "th-1", attachments: [{upload: $file}]}) { outcome } }'
    )
    body = json.dumps({"query": document, "variables": {"file": None}}).encode()
    sent(gateway, [Part("operations", body), file_map("variables.file"), file("0", b"x")])
    assert arrived(sandbox) == [("a.txt", b"x")]


def test_a_form_without_files_is_an_operation(gateway: Gateway) -> None:
    body = form([Part("operations", b'{"query": "{ __typename }"}'), Part("map", b"{}")])
    assert post(gateway, body).json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("attachment", "field", "code"),
    [
        ({"upload": None, "file": "eA=="}, ["attachments", "0"], "INVALID"),
        ({"upload": None, "name": None}, None, None),
    ],
)
def test_an_attachment_has_either_form(
    gateway: Gateway, attachment: dict[str, Any], field: list[str] | None, code: str | None
) -> None:
    answer = sent(gateway, upload([b"x"], attachments=[attachment]))
    errors = [(each["field"], each["code"]) for each in answer["userErrors"]]
    assert errors == ([] if code is None else [(field, code)])


@pytest.mark.parametrize(
    ("attachment", "field"),
    [
        ({"name": "a"}, ["attachments", "0"]),
        ({"name": "a", "upload": None}, ["attachments", "0"]),
        ({"file": "eA=="}, ["attachments", "0", "name"]),
    ],
)
def test_an_attachment_without_a_file_or_a_name_is_refused(
    gateway: Gateway, attachment: dict[str, Any], field: list[str]
) -> None:
    answer = send(gateway, attachments=[attachment])
    assert answer["outcome"] == "NOT_APPLIED"
    assert [(each["field"], each["code"]) for each in answer["userErrors"]] == [(field, "INVALID")]


def test_a_part_without_a_name_for_its_file_needs_one_in_the_input(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = sent(gateway, upload([b"x"], ""))
    assert [each["field"] for each in answer["userErrors"]] == [["attachments", "0", "name"]]
    assert sandbox.count("message") == 0
    assert sent(gateway, upload([b"x"], "", attachments=[{"name": "n", "upload": None}]))["outcome"] == "APPLIED"


def test_text_in_place_of_an_upload_is_refused(gateway: Gateway, sandbox: Sandbox) -> None:
    (error,) = gateway.query(SEND, input={"threadId": "th-1", "attachments": [{"upload": "eA=="}]})["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "multipart/form-data" in error["message"]
    literal = 'mutation { createMessage(input: {attachments: [{upload: "x"}]}) { outcome } }'
    assert "errors" in gateway.http.post("/graphql", json={"query": literal}).json()
    assert sandbox.count("message") == 0


@pytest.mark.parametrize(
    ("document", "variables", "path"),
    [
        (SEND, {"input": {"content": None}}, "variables.input.content"),
        (SEND, {"input": {"threadId": None}}, "variables.input.threadId"),
        (SEND, {"input": {"delivery": None}}, "variables.input.delivery"),
        (SEND, {"input": {"attachments": [{"file": None}]}}, "variables.input.attachments.0.file"),
        (SEND, {"input": {"nothing": None}}, "variables.input.nothing"),
        (SEND, {"input": {}, "undeclared": None}, "variables.undeclared"),
        ("query Q($id: ID!) { thread(id: $id) { id } }", {"id": None}, "variables.id"),
        (
            "query Q($r: [_Any!]!) { _entities(representations: $r) { __typename } }",
            {"r": [{"__typename": "Thread", "id": None}]},
            "variables.r.0.id",
        ),
        ("subscription S($id: ID!) { threadUpdated(id: $id) { id } }", {"id": None}, "variables.id"),
    ],
)
def test_a_file_that_is_no_upload_is_refused(
    start: StartGateway, sandbox: Sandbox, document: str, variables: dict[str, Any], path: str
) -> None:
    gateway = start(mutations=True, subscriptions=True)
    body = json.dumps({"query": document, "variables": variables}).encode()
    response = post(gateway, form([Part("operations", body), file_map(path), file("0", b"x")]))
    assert set(re.findall('"code":"([A-Z_]+)"', response.text)) == {"BAD_USER_INPUT"}, response.text
    assert sandbox.count() == 0


def test_a_gateway_that_only_reads_says_so(start: StartGateway, sandbox: Sandbox) -> None:
    response = post(start(), form(upload([b"x"])))
    assert [each["extensions"]["code"] for each in response.json()["errors"]] == ["MUTATIONS_DISABLED"]
    assert sandbox.count() == 0


def test_a_key_covers_the_files(gateway: Gateway, sandbox: Sandbox) -> None:
    first = upload([b"one", b"two"], idempotencyKey="k")
    assert sent(gateway, first)["outcome"] == "APPLIED"
    assert sent(gateway, first)["outcome"] == "APPLIED"
    assert sandbox.count("message") == 1
    response = post(gateway, form(upload([b"one", b"2"], idempotencyKey="k")))
    assert [each["extensions"]["code"] for each in response.json()["errors"]] == ["IDEMPOTENCY_MISMATCH"]
    assert sandbox.count("message") == 1


def test_an_upload_that_certainly_did_not_leave_is_sent_again(gateway: Gateway, sandbox: Sandbox) -> None:
    """After a 429, from its beginning."""
    sandbox.faults.add(Fault("message", status=429, headers={"retry-after": "0"}, times=1))
    content = CONTENTS[-1]
    assert sent(gateway, upload([content]))["outcome"] == "APPLIED"
    first, second = [call.body for call in sandbox.calls if call.route == "message"]
    assert first == second
    assert len(first) > len(content)


@pytest.mark.parametrize("headers", [{}, {"apollo-require-preflight": ""}, {"x-apollo-operation-name": "M"}])
@pytest.mark.parametrize("csrf", ["off", "cross-site", "strict"])
def test_an_upload_needs_a_header_that_a_page_cannot_send(
    start: StartGateway, sandbox: Sandbox, csrf: str, headers: dict[str, str]
) -> None:
    gateway = start(mutations=True, csrf=csrf)
    response = post(gateway, form(upload([b"x"])), headers)
    assert response.status_code == 403
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "CSRF_PREVENTED"
    assert error["message"].startswith("An upload (multipart/form-data) needs the header `apollo-require-preflight:")
    assert sandbox.count() == 0
    assert post(gateway, form(upload([b"x"])), PREFLIGHT).status_code == 200


def test_an_upload_is_answered_as_an_event_stream(gateway: Gateway, sandbox: Sandbox) -> None:
    response = post(gateway, form(upload([b"x"])), accept="text/event-stream")
    assert '"outcome":"APPLIED"' in response.text
    assert arrived(sandbox) == [("0.bin", b"x")]


def test_files_end_with_their_request(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    before = open_files()
    sent(gateway, upload(CONTENTS))
    post(gateway, form(upload([b"x"])[:-1]))  # a file is missing
    post(gateway, form([*upload([b"x"]), file("1", b"y")]))
    sandbox.faults.add(Fault("message", drop="before", times=1))
    post(gateway, form(upload([b"x"])))
    until_closed(before)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_hangs_up_does_not_cut_its_upload_off(gateway: Gateway, sandbox: Sandbox) -> None:
    before = open_files()
    sandbox.faults.add(Fault("message", hold="gate"))
    with pytest.raises(httpx.ReadTimeout):
        gateway.http.post(
            "/graphql",
            content=form(upload(CONTENTS)),
            headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}", **PREFLIGHT},
            timeout=httpx.Timeout(30, read=0.3),
        )
    sandbox.wait_for_calls(1, route="message")
    sandbox.release("gate")
    sandbox.wait_until_idle()
    assert [content for _, content in arrived(sandbox)] == CONTENTS
    send(gateway)  # its answer comes after the end of the other
    until_closed(before)


def test_a_client_that_hangs_up_early_leaves_nothing(gateway: Gateway, sandbox: Sandbox) -> None:
    before = open_files()
    body = form(upload(CONTENTS))

    def broken() -> Any:
        yield body[:400_000]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        gateway.http.post(
            "/graphql",
            content=broken(),
            headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}", **PREFLIGHT},
        )
    send(gateway)
    assert sandbox.count("message") == 1
    until_closed(before)
