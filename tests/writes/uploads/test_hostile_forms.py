"""Whatever is wrong with an upload, it gets a clear 4xx, and nothing is sent or kept."""

import json
import socket
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from gateway.errors import BadUserInput, ConfigurationError
from gateway.sandbox import Sandbox
from gateway.web.graphql.uploads.form import Event, FormParser, PartEnd, PartHead
from tests.harness import Gateway, StartGateway
from tests.selection import PROPERTY_CASES
from tests.writes.documents import send
from tests.writes.uploads.forms import (
    BOUNDARY,
    PREFLIGHT,
    Part,
    file,
    file_map,
    form,
    operations,
    places,
    post,
    sent,
    upload,
)
from tests.writes.uploads.test_uploads import open_files, until_closed

FILE = file("0", b"x")
PLACE = file_map(*places(1))
GOOD = [operations(), PLACE, FILE]
DELIMITER = f"--{BOUNDARY}\r\n".encode()


def mapped(value: object) -> list[Part]:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [operations(), Part("map", text), FILE]


def with_head(head: bytes) -> bytes:
    """Return a good upload whose file has another head."""
    return form([operations(), PLACE]).removesuffix(f"--{BOUNDARY}--\r\n".encode()) + (
        DELIMITER + head + b"\r\n\r\nx\r\n" + f"--{BOUNDARY}--\r\n".encode()
    )


NAMED = b'Content-Disposition: form-data; name="0"; filename="a"'

HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "no parts": (f"--{BOUNDARY}--\r\n".encode(), 400, "has the parts `operations` and `map`"),
    "nothing": (b"", 400, "ends before its last boundary"),
    "no operations": (form([PLACE, FILE]), 400, "`operations`, then `map`"),
    "no map": (form([operations(), FILE]), 400, "`operations`, then `map`"),
    "only operations": (form([operations()]), 400, "has the parts `operations` and `map`"),
    "the map first": (form([PLACE, operations(), FILE]), 400, "`operations`, then `map`"),
    "a file first": (form([FILE, operations(), PLACE]), 400, "`operations`, then `map`"),
    "a file is missing": (form(GOOD[:2]), 400, "did not come"),
    "an extra file": (form([*GOOD, file("1", b"y")]), 400, "that `map` names"),
    "an extra field": (form([*GOOD, Part("x", b"y")]), 400, "that `map` names"),
    "a file twice": (form([*GOOD, FILE]), 400, "comes once"),
    "operations twice": (form([operations(), operations(), PLACE, FILE]), 400, "then `map`"),
    "the map twice": (form([operations(), PLACE, PLACE, FILE]), 400, "comes once"),
    "a file without a filename": (form([*GOOD[:2], Part("0", b"x")]), 400, "`filename`"),
    "operations that are no JSON": (form([Part("operations", b"{"), PLACE, FILE]), 400, "is not JSON"),
    "operations that are no object": (form([Part("operations", b'"x"'), PLACE, FILE]), 400, "JSON object"),
    "operations without variables": (
        form([Part("operations", b'{"query": "{ __typename }"}'), PLACE, FILE]),
        400,
        "leads to nothing",
    ),
    "a batch": (form([Part("operations", b"[" + operations().content + b"]"), PLACE, FILE]), 400, "not a batch"),
    "a path into a batch": (form(mapped({"0": ["0.variables.input.attachments.0.upload"]})), 400, "begins with"),
    "a map that is no JSON": (form(mapped(b"{")), 400, "`map` is a JSON object"),
    "a map that is a list": (form(mapped([places(1)])), 400, "`map` is a JSON object"),
    "a map of texts": (form(mapped({"0": places(1)[0]})), 400, "`map` is a JSON object"),
    "a map of numbers": (form(mapped({"0": [1]})), 400, "`map` is a JSON object"),
    "a map that is nested deeply": (form(mapped(b"[" * 16_000)), 400, "`map` is a JSON object"),
    "a map with a huge number": (form(mapped(b'{"0": ' + b"1" * 10_000 + b"}")), 400, "`map` is a JSON object"),
    "a huge map": (form(mapped({"0": [*places(1), "x" * 16_384]})), 413, "`map` has 16384 bytes"),
    "no path": (form(mapped({"0": []})), 400, "one path"),
    "two paths": (form(mapped({"0": places(2)})), 400, "one path"),
    "one path for two files": (
        form([operations(), file_map(*places(1) * 2), FILE, file("1", b"y")]),
        400,
        "one path for two files",
    ),
    "a part that is named twice": (form(mapped(b'{"0": ["variables.a"], "0": ["variables.b"]}')), 400, "a part twice"),
    "an index that is too large": (form(mapped({"0": ["variables.input.attachments.1.upload"]})), 400, "to nothing"),
    "an index below 0": (form(mapped({"0": ["variables.input.attachments.-1.upload"]})), 400, "to nothing"),
    "an index with a sign": (form(mapped({"0": ["variables.input.attachments.+0.upload"]})), 400, "to nothing"),
    "an index with zeros": (form(mapped({"0": ["variables.input.attachments.00.upload"]})), 400, "to nothing"),
    "an index in other digits": (form(mapped({"0": ["variables.input.attachments.\u0660.upload"]})), 400, "to nothing"),
    "a name in a list": (form(mapped({"0": ["variables.input.attachments.length"]})), 400, "to nothing"),
    "a path to a value": (form(mapped({"0": ["variables.input.threadId"]})), 400, "another value"),
    "a path to a list": (form(mapped({"0": ["variables.input.attachments"]})), 400, "another value"),
    "a path through a value": (form(mapped({"0": ["variables.input.threadId.x"]})), 400, "to nothing"),
    "a path through null": (form(mapped({"0": [places(1)[0] + ".x"]})), 400, "to nothing"),
    "a path to the query": (form(mapped({"0": ["query"]})), 400, "begins with"),
    "a path to the variables": (form(mapped({"0": ["variables"]})), 400, "begins with"),
    "an empty path": (form(mapped({"0": [""]})), 400, "begins with"),
    "an empty step": (form(mapped({"0": ["variables..input"]})), 400, "to nothing"),
    **{
        f"a path through {each}": (form(mapped({"0": [f"variables.{each}"]})), 400, "to nothing")
        for each in ("__proto__.x", "constructor.prototype.x", "__class__", "input.__dict__.x", "__class__.__bases__.0")
    },
    "eleven files": (form([operations(11), file_map(*places(11))]), 413, "10 files at most"),
    "a file that is too large": (form(upload([bytes(10 * 2**20 + 1)])), 413, "10485760 bytes at most"),
    "files that are too large together": (form(upload([bytes(9 * 2**20)] * 3)), 413, "26214400 bytes together"),
    "large operations": (form([operations(content="x" * 2**20), PLACE, FILE]), 413, "`operations` has 1048576 bytes"),
    "line breaks before everything": (b"\r\n" * 14 * 2**20, 413, "too large for an upload"),
    "an end that does not end": (form(GOOD) + bytes(28 * 2**20), 413, "too large for an upload"),
    "no last boundary": (form(GOOD, end=""), 400, "ends before"),
    "cut off in a file": (form(GOOD)[:-60], 400, "ends before"),
    "cut off in the map": (form(GOOD[:2])[:-70], 400, "ends before"),
    "another boundary": (form(GOOD).replace(BOUNDARY.encode(), b"other"), 400, "not well-formed"),
    "no form": (b'{"query": "{ __typename }"}', 400, "not well-formed"),
    "an endless header": (with_head(b"X: " + b"x" * 2**20), 400, "header of a part is too large"),
    "an endless name of a header": (with_head(b"x" * 2**20), 400, "header of a part is too large"),
    "many headers": (with_head(b"X: x\r\n" * 1000 + NAMED), 400, "header of a part is too large"),
    "a header without a colon": (with_head(b"Content-Disposition form-data"), 400, "not well-formed"),
    "a part without a head": (with_head(b"X: x"), 400, "Content-Disposition"),
    "two names": (with_head(NAMED + b'; name="1"'), 400, "not well-formed"),
    "two dispositions": (with_head(NAMED + b"\r\n" + NAMED), 400, "Content-Disposition"),
    "another disposition": (with_head(b'Content-Disposition: attachment; name="0"; filename="a"'), 400, "`form-data`"),
    "no name": (with_head(b'Content-Disposition: form-data; filename="a"'), 400, "with its name"),
    "an open quotation": (with_head(b'Content-Disposition: form-data; name="0'), 400, "not well-formed"),
    "a name that is not in UTF-8": (with_head(NAMED[:-2] + b'\xff"'), 400, "in UTF-8"),
    "an extended name in Latin-1": (with_head(NAMED + b"; filename*=iso-8859-1''%e4"), 400, "in UTF-8"),
    "an encoded part": (with_head(NAMED + b"\r\nContent-Transfer-Encoding: base64"), 400, "Content-Transfer-Encoding"),
}


def is_sentence(message: str) -> bool:
    return message.endswith(".") and not message[0].islower()


def test_a_wrong_upload_gets_a_clear_error(gateway: Gateway, sandbox: Sandbox) -> None:
    """All of them at one gateway, one after another: none leaves anything behind for the next."""
    before = open_files()
    for name, (body, status, text) in HOSTILE.items():
        response = post(gateway, body)
        assert response.status_code == status, f"{name}: {response.text}"
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == ("MAX_BODY_LIMIT" if status == 413 else "BAD_USER_INPUT"), name
        assert text in error["message"], name
        assert is_sentence(error["message"]), name
    assert sandbox.count() == 0
    until_closed(before)
    assert sent(gateway, GOOD)["outcome"] == "APPLIED"


@pytest.mark.parametrize(
    "boundary",
    ["", "; boundary=", '; boundary=""', "; boundary=" + "x" * 71, "; boundary=a; boundary=b", '; boundary="a\u00e4"'],
)
def test_a_boundary_is_needed(gateway: Gateway, boundary: str) -> None:
    fields = [
        (b"content-type", f"multipart/form-data{boundary}".encode("latin-1")),
        (b"apollo-require-preflight", b"1"),
    ]
    response = gateway.http.post("/graphql", content=form(GOOD), headers=fields)
    assert response.status_code == 400
    message = "`Content-Type: multipart/form-data` needs a `boundary` of 1 to 70 characters."
    assert response.json()["errors"][0]["message"] == message


def test_every_good_part_of_the_examples_is_good(gateway: Gateway) -> None:
    """So that each example is refused for its own reason only."""
    assert sent(gateway, GOOD)["outcome"] == "APPLIED"
    for body in (
        with_head(NAMED),
        form([operations(10), file_map(*places(10)), *[file(str(n), b"x") for n in range(10)]]),
    ):
        assert post(gateway, body).json()["data"]["createMessage"]["outcome"] == "APPLIED"


def test_a_file_may_have_as_many_bytes_as_the_rest_api_takes(gateway: Gateway) -> None:
    assert sent(gateway, upload([bytes(10 * 2**20)]))["outcome"] == "APPLIED"


def test_the_limit_of_all_files_is_a_setting_and_exact(start: StartGateway) -> None:
    gateway = start(mutations=True, max_upload_bytes=1024, max_body=1024)
    assert sent(gateway, upload([bytes(512)] * 2))["outcome"] == "APPLIED"
    assert post(gateway, form(upload([bytes(512), bytes(513)]))).status_code == 413


def test_the_body_is_not_read_before_the_caller_is_known(start: StartGateway) -> None:
    gateway = start(mutations=True, upstream_identity="passthrough", inbound_auth=None)
    host, port = urlsplit(gateway.url).netloc.split(":")
    head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\napollo-require-preflight: 1\r\n"
    with closing(socket.create_connection((host, int(port)), timeout=30)) as connection:
        connection.sendall(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_form_is_no_get(gateway: Gateway) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **PREFLIGHT}
    response = gateway.http.request("GET", "/graphql", content=form(GOOD), headers=headers)
    assert response.status_code == 400


def test_other_forms_are_refused(gateway: Gateway) -> None:
    for kind in ("multipart/mixed", "application/x-www-form-urlencoded", "multipart/form-datas"):
        headers = {"content-type": f"{kind}; boundary={BOUNDARY}"}
        response = gateway.http.post("/graphql", content=form(GOOD), headers=headers)
        assert response.status_code == 415
        assert response.headers["accept-post"] == "application/json, multipart/form-data"


def test_files_are_kept_in_the_folder_of_the_setting(
    start: StartGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_UPLOAD_DIRECTORY"):
        start(mutations=True, upload_directory=str(tmp_path / "missing"))
    folder = tmp_path / "uploads"
    folder.mkdir()
    gateway = start(mutations=True, upload_directory=str(folder))
    assert sent(gateway, GOOD)["outcome"] == "APPLIED"
    assert list(folder.iterdir()) == []
    folder.rmdir()
    response = post(gateway, form(GOOD))
    assert response.status_code == 503
    assert response.json()["errors"][0]["extensions"]["code"] == "UPLOADS_UNAVAILABLE"
    (reason,) = [each.exc_info for each in caplog.records if each.getMessage() == "an uploaded file cannot be kept"]
    assert reason is not None
    assert isinstance(reason[1], FileNotFoundError)
    assert send(gateway)["outcome"] == "APPLIED"


def events_of(body: bytes, cuts: list[int]) -> list[Event]:
    """Return what a form holds that arrives in these pieces, with the content of each part in one piece."""
    parser = FormParser(f"multipart/form-data; boundary={BOUNDARY}")
    found: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        for event in parser.feed(body[start:end]):
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    parser.finish()
    return found


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "Binary"])
def test_a_head_may_be_cut_anywhere_and_name_an_encoding_that_changes_nothing(encoding: str) -> None:
    head = f'Content-Disposition: form-data; name="0"; filename="a.txt"\r\nContent-Transfer-Encoding: {encoding}'
    body = f"--{BOUNDARY}\r\n{head}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode()
    assert events_of(body, list(range(1, len(body)))) == [PartHead("0", "a.txt"), b"x", PartEnd()]


_LIKE_BOUNDARIES = strategies.lists(
    strategies.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY.encode()[:-1], b"x", bytes(5)]), max_size=30
).map(b"".join)


@given(strategies.lists(_LIKE_BOUNDARIES, max_size=4), strategies.data())
@hypothesis_settings(max_examples=PROPERTY_CASES, deadline=None)
def test_a_form_holds_the_same_however_it_is_cut(contents: list[bytes], data: strategies.DataObject) -> None:
    body = form([file(str(number), each) for number, each in enumerate(contents)])
    cuts = sorted(data.draw(strategies.lists(strategies.integers(0, len(body)), max_size=20)))
    expected: list[Event] = []
    for number, each in enumerate(contents):
        expected += [PartHead(str(number), "a.txt"), *([each] if each else []), PartEnd()]
    assert events_of(body, cuts) == expected


@given(strategies.binary(max_size=300), strategies.integers(0, 400))
@hypothesis_settings(max_examples=PROPERTY_CASES, deadline=None)
def test_damaged_forms_are_refused_or_read(noise: bytes, position: int) -> None:
    body = form(GOOD)
    with suppress(BadUserInput):
        events_of(body[:position] + noise + body[position + len(noise) :], [])
