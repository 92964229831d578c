"""Uploads as bytes, so that tests can also send wrong ones."""

import base64
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx
import msgspec

from gateway.sandbox import Sandbox
from tests.harness import Gateway
from tests.writes.documents import SEND

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
PREFLIGHT = {"apollo-require-preflight": "true"}


class Part(NamedTuple):
    """One part; ``disposition`` is what follows its name."""

    name: str
    content: bytes
    disposition: str = ""


def file(name: str, content: bytes, filename: str = "a.txt") -> Part:
    """Return a part as browsers write it."""
    return Part(name, content, f'; filename="{filename}"\r\nContent-Type: application/octet-stream')


def form(parts: Sequence[Part], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    """Return the body of a form."""
    heads = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{each.name}"{each.disposition}' for each in parts)
    pairs = zip(heads, parts, strict=True)
    return b"".join(head.encode() + b"\r\n\r\n" + each.content + b"\r\n" for head, each in pairs) + end.encode()


def operations(count: int = 1, document: str = SEND, **given: Any) -> Part:
    """Return the part of a message with so many uploads."""
    attachments = [{"upload": None} for _ in range(count)]
    variables = {"input": {"threadId": "th-1", "attachments": attachments, **given}}
    return Part("operations", json.dumps({"query": document, "variables": variables}).encode())


def file_map(*paths: str) -> Part:
    """Return the part that gives these paths to the files 0, 1, 2 and so on."""
    return Part("map", json.dumps({str(number): [path] for number, path in enumerate(paths)}).encode())


def places(count: int) -> list[str]:
    """Return the paths of so many uploads."""
    return [f"variables.input.attachments.{number}.upload" for number in range(count)]


def upload(contents: Sequence[bytes], *filenames: str, **given: Any) -> list[Part]:
    """Return the parts of a message with these files."""
    names = filenames or [f"{number}.bin" for number in range(len(contents))]
    files = [file(str(number), each, names[number]) for number, each in enumerate(contents)]
    return [operations(len(contents), **given), file_map(*places(len(contents))), *files]


def post(gateway: Gateway, body: bytes, headers: dict[str, str] | None = None, **changed: str) -> httpx.Response:
    """Send a form; ``changed`` are headers by their names with underscores."""
    fields = {
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        **(PREFLIGHT if headers is None else headers),
    }
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    return gateway.http.post("/graphql", content=body, headers=fields)


def sent(gateway: Gateway, parts: Sequence[Part]) -> Any:
    """Send a form that is right, and return the payload of its message."""
    response = post(gateway, form(parts))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert "errors" not in answer, answer
    return answer["data"]["createMessage"]


def arrived(sandbox: Sandbox) -> list[tuple[str, bytes]]:
    """Return the name and the content of each attachment of the only message that has arrived."""
    (call,) = [call for call in sandbox.calls if call.route == "message"]
    attachments = msgspec.json.decode(call.body)["attachments"]
    return [(each["name"], base64.b64decode(each["file"], validate=True)) for each in attachments]
