"""Uploads take a bounded part of the disk and of a worker's memory, however many connections send one."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.programs import until
from tests.writes.uploads.forms import BOUNDARY, PREFLIGHT, Part, file, file_map, form, operations, places, post, upload

pytestmark = pytest.mark.slow

MEGABYTE = 2**20
ROOM = 32 * MEGABYTE
LARGE_BODY = {"query": "{ __typename }", "variables": {"pad": "x" * 900_000}}
UNFINISHED = 100 * MEGABYTE
Begin = Callable[[Sequence[Part]], None]


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(mutations=True, upload_directory_max_bytes=ROOM)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """The connections that are open. A test may close them before its end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def begin(gateway: Gateway, stack: ExitStack) -> Begin:
    """What begins uploads on connections of their own, and leaves the last part open."""
    address = urlsplit(gateway.url)

    def send(parts: Sequence[Part]) -> None:
        connection = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 0), 30))
        head = f"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: {UNFINISHED}\r\napollo-require-preflight: 1\r\n"
        kind = f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        connection.sendall((head + kind).encode() + form(parts, end=f"--{BOUNDARY}\r\n"))

    return send


def fill(begin: Begin, parts: Sequence[Part], count: int, is_full: Callable[[], bool]) -> None:
    """Begin uploads until the room is taken. ``is_full`` takes some for a moment: one of the uploads may find none."""
    for _ in range(count):
        begin(parts)

    def is_full_now() -> bool:
        begin(parts)
        return is_full()

    until(is_full_now, "the room is taken")


def refusal(response: httpx.Response) -> tuple[Any, ...]:
    (error,) = response.json()["errors"]
    return response.status_code, response.headers.get("retry-after"), error["extensions"]["code"]


NO_ROOM = (503, "1", "RATE_LIMITED")


def accepted(gateway: Gateway, size: int) -> bool:
    """Return whether an upload of so many bytes is carried out; everything but that is the refusal for want of room."""
    response = post(gateway, form(upload([bytes(size)])))
    if response.status_code == 200:
        assert response.json()["data"]["createMessage"]["outcome"] == "APPLIED"
        return True
    assert refusal(response) == NO_ROOM
    return False


def test_files_that_find_no_room_are_refused_until_others_are_sent_on(
    gateway: Gateway, sandbox: Sandbox, stack: ExitStack, begin: Begin
) -> None:
    assert accepted(gateway, 10 * MEGABYTE)
    parts = upload([bytes(9 * MEGABYTE)])
    fill(begin, parts, 3, lambda: not accepted(gateway, 6 * MEGABYTE))
    before = sandbox.count("message")
    response = post(gateway, form(upload([bytes(6 * MEGABYTE)])))
    assert refusal(response) == NO_ROOM
    assert "uploaded at this moment" in response.json()["errors"][0]["message"]
    assert sandbox.count("message") == before
    until(
        lambda: accepted(gateway, MEGABYTE), "what was refused has given its room back, and there is some for this one"
    )
    stack.close()
    until(lambda: accepted(gateway, 6 * MEGABYTE), "clients that hung up give their room back")


def test_a_file_keeps_its_room_until_its_write_is_over(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(*[Fault("message", hold="gate", times=1) for _ in range(3)])
    for _ in range(3):  # their clients hang up, and the writes go on
        with pytest.raises(httpx.ReadTimeout):
            gateway.http.post(
                "/graphql",
                content=form(upload([bytes(9 * MEGABYTE)])),
                headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}", **PREFLIGHT},
                timeout=httpx.Timeout(30, read=0.5),
            )
    sandbox.wait_for_calls(3, route="message")
    assert not accepted(gateway, 6 * MEGABYTE)
    sandbox.release("gate")
    until(lambda: accepted(gateway, 6 * MEGABYTE), "the writes are over")


def test_empty_files_take_room_as_well(gateway: Gateway, begin: Begin) -> None:
    """Each has a file descriptor: 64 KB are counted for it."""
    files = [file(str(number), b"") for number in range(10)]
    parts = [operations(10), file_map(*places(10)), *files]
    fill(begin, parts, ROOM // (64 * 1024) // 10, lambda: not accepted(gateway, MEGABYTE))


def test_operations_count_as_bodies_until_their_files_have_come(
    gateway: Gateway, stack: ExitStack, begin: Begin
) -> None:
    parts = [operations(content="x" * 1_000_000), file_map(*places(1))]

    def large_body() -> httpx.Response:
        return gateway.http.post("/graphql", json=LARGE_BODY)

    fill(begin, parts, 48 * MEGABYTE // 1_000_000, lambda: large_body().status_code == 503)
    assert refusal(large_body()) == NO_ROOM
    response = post(gateway, form([operations(content="x" * 900_000), file_map(*places(1)), file("0", b"x")]))
    assert refusal(response) == NO_ROOM, "and the other way round"
    stack.close()
    until(lambda: large_body().status_code == 200, "clients that hung up give their room back")
