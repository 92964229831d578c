"""Streams over HTTP for tests: server-sent events and parts as they arrive, read as their specifications say."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.harness import Gateway

EVENTS = {"accept": "text/event-stream"}
PARTS = {"accept": "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"}


class Event(NamedTuple):
    """A server-sent event; a comment is one without a type and with None as its data."""

    type: str
    data: Any


@contextmanager
def streamed(
    gateway: Gateway, query: str | None, headers: dict[str, str], method: str = "POST", **parameters: Any
) -> Iterator[httpx.Response]:
    """Yield a response whose body is not read yet."""
    body: dict[str, Any] = {"query": query, **parameters}
    options: Any = {"params": body} if method == "GET" else {"json": body}
    with gateway.http.stream(method, "/graphql", headers=headers, **options) as response:
        yield response


def events_of(response: httpx.Response) -> Generator[Event, None, None]:
    """Yield the events of a response (HTML Standard, section 9.2.6), and its comments."""
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines: list[str] = []
    for line in response.iter_lines():
        if line:
            lines.append(line)
            continue
        yield _event(lines)
        lines = []
    assert lines == [], "the last event is cut off"


def _event(lines: list[str]) -> Event:
    if lines == [":"]:
        return Event("", None)
    pairs = [line.split(":", maxsplit=1) for line in lines]
    fields = {name: value.removeprefix(" ") for name, value in pairs}
    assert fields.keys() == {"event", "data"}
    data = fields["data"]
    return Event(fields["event"], json.loads(data) if data else "")


def parts_of(response: httpx.Response) -> Generator[Any, None, None]:
    """Yield the parts of a response, each when the boundary after it is there (RFC 2046, section 5.1)."""
    assert response.headers["content-type"] == 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'
    text = b"\r\n"  # the first boundary is at the beginning, without a line break before it
    begun = False
    for chunk in response.iter_raw():
        text += chunk
        *complete, text = text.split(b"\r\n--graphql")
        if complete and not begun:
            assert complete.pop(0) == b""
            begun = True
        for part in complete:
            head, _, body = part.partition(b"\r\n\r\n")
            assert head == b"\r\nContent-Type: application/json"
            yield json.loads(body)
    assert text == b"--\r\n", "the closing boundary is missing"
