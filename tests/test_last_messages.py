"""Messages from the end, with `last` and `before`, in as few REST calls as possible; `first: 0` for the total alone."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.execution.operation import Operation
from gateway.http1 import Response
from gateway.sandbox import Fault, Sandbox, seed
from gateway.schema.resolvers.pagination import cursor_at
from tests.execution.comparison import engine, run
from tests.harness import Gateway, StartGateway, rest_response
from tests.limits.test_cost import ask, cost_of
from tests.selection import PROPERTY_CASES
from tests.test_messages import PAGE, page

LONG = [each["id"] for each in seed().messages["th-long"]]
LAST = '{ thread(id: "th-long") { messages(last: 5) { nodes { id } pageInfo { hasNextPage hasPreviousPage } } } }'


def ids(connection: Any) -> list[str]:
    return [node["id"] for node in connection["nodes"]]


def count_as(sandbox: Sandbox, count: object) -> None:
    """Let the thread say that it has ``count`` messages."""
    sandbox.faults.add(Fault("thread", patch={"message_count": count}))


@pytest.mark.parametrize(("count", "calls"), [(len(LONG), 1), (3, 2), (len(LONG) + 3, 2), (0, 2), (None, 2), ("x", 2)])
@pytest.mark.parametrize("plans", [True, False], ids=["planned", "reference"])
def test_the_last_page_is_one_call_where_the_total_is_known_and_two_otherwise(
    start: StartGateway, sandbox: Sandbox, count: object, calls: int, plans: bool
) -> None:
    count_as(sandbox, count)
    response = ask(start(plans=plans), LAST)
    found = response.json()["data"]["thread"]["messages"]
    assert ids(found) == LONG[-5:]
    assert found["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": True}
    assert sandbox.count("messages") == calls
    assert cost_of(response) == (3, 1 + calls)


def test_a_short_thread_without_a_count_is_one_call(gateway: Gateway, sandbox: Sandbox) -> None:
    count_as(sandbox, None)
    found = page(gateway, id="th-1", last=20)
    assert ids(found) == ["th-1-m1", "th-1-m2", "th-1-m3", "th-1-m4"]
    assert sandbox.count("messages") == 1


def test_paging_back_returns_every_message_once_and_costs_one_call_for_each_page(
    gateway: Gateway, sandbox: Sandbox
) -> None:
    seen: list[str] = []
    before = None
    while True:
        part = page(gateway, last=100, before=before)
        assert part["pageInfo"]["hasNextPage"] is bool(seen)
        seen = ids(part) + seen
        before = part["pageInfo"]["startCursor"]
        if not part["pageInfo"]["hasPreviousPage"]:
            break
    assert seen == LONG
    assert sandbox.count("messages") == -(-len(LONG) // 100)


def test_a_page_before_a_cursor_is_predicted_to_be_one_call(gateway: Gateway) -> None:
    document = f'{{ thread(id: "th-long") {{ messages(last: 5, before: "{cursor_at(50)}") {{ nodes {{ id }} }} }} }}'
    response = ask(gateway, document)
    assert ids(response.json()["data"]["thread"]["messages"]) == LONG[45:50]
    assert cost_of(response) == (2, 2)


def test_first_and_last_together_are_refused_without_a_call(gateway: Gateway, sandbox: Sandbox) -> None:
    (error,) = gateway.query(PAGE, first=3, last=3)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"].startswith("`first` and `last` are both given")
    assert sandbox.count("messages") == 0


def test_with_first_0_there_is_the_total_alone(gateway: Gateway, sandbox: Sandbox) -> None:
    response = ask(gateway, '{ thread(id: "th-long") { messages(first: 0) { totalCount } } }')
    assert response.json()["data"]["thread"]["messages"] == {"totalCount": len(LONG)}
    assert cost_of(response) == (2, 2)
    found = page(gateway, first=0)
    assert (found["nodes"], found["edges"]) == ([], [])
    assert found["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }
    assert {call.query for call in sandbox.calls if call.route == "messages"} == {"offset=0&limit=1"}


def test_first_0_and_first_1_are_one_call(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.data('{ thread(id: "th-1") { a: messages(first: 0) { totalCount } b: messages(first: 1) { totalCount } } }')
    assert sandbox.count("messages") == 1


def test_without_a_total_the_last_page_is_what_the_count_says(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", patch={"total": None}))
    assert ids(page(gateway, last=5)) == LONG[-5:]


def test_without_a_total_and_a_count_the_last_page_is_an_error(gateway: Gateway, sandbox: Sandbox) -> None:
    count_as(sandbox, None)
    sandbox.faults.add(Fault("messages", patch={"total": None}))
    answer = gateway.query(PAGE, last=5)
    assert answer["data"]["thread"]["messages"] is None
    assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"
    assert ids(page(gateway, id="th-1", last=5)) == ["th-1-m1", "th-1-m2", "th-1-m3", "th-1-m4"], "here is the end"


@pytest.mark.parametrize("arguments", [{"last": 10}, {"last": 10, "before": cursor_at(500)}])
def test_a_page_that_the_upstream_cut_is_an_error_because_its_messages_would_be_lost(
    gateway: Gateway, sandbox: Sandbox, arguments: dict[str, Any]
) -> None:
    sandbox.faults.add(Fault("messages", patch={"messages": seed().messages["th-long"][:3]}))
    answer = gateway.query(PAGE, **arguments)
    assert answer["data"]["thread"]["messages"] is None
    assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"


def test_the_thread_is_returned_if_the_second_call_fails(gateway: Gateway, sandbox: Sandbox) -> None:
    count_as(sandbox, 3)
    sandbox.faults.add(Fault("messages", times=1, patch={"total": len(LONG)}), Fault("messages", status=404))
    answer = gateway.query('{ thread(id: "th-long") { id messages(last: 5) { totalCount } } }')
    assert answer == {"data": {"thread": {"id": "th-long", "messages": None}}}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


PLANNED, REFERENCE = engine(), engine(plans=False)
POSITIONS = st.none() | st.integers(0, 12)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread with ``total`` messages, which says that it has ``count``."""

    total: int
    count: int | None

    def answer(self, target: str) -> Response:
        """Return the response of the REST API to a path."""
        path, _, query = target.partition("?")
        if not path.endswith("/messages"):
            return rest_response(200, msgspec.json.encode({"id": "1", "message_count": self.count}))
        offset, limit = (int(each.partition("=")[2]) for each in query.split("&"))
        messages = [{"id": str(position)} for position in range(self.total)][offset : offset + limit]
        return rest_response(200, msgspec.json.encode({"messages": messages, "total": self.total}))


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a connection."""

    size: int
    from_the_end: bool
    after: int | None
    before: int | None

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the operation."""
        cursors = {"after": self.after, "before": self.before}
        return {
            "id": "1",
            "last" if self.from_the_end else "first": self.size,
            **{name: None if position is None else cursor_at(position) for name, position in cursors.items()},
        }

    def positions(self, total: int) -> list[int]:
        """Return where the edges are (Relay: GraphQL Cursor Connections Specification, Pagination algorithm).

        A cursor is a position, also where the list has become shorter.
        """
        edges = range(max(total, self.before or 0))[0 if self.after is None else self.after + 1 : self.before]
        return [each for each in (edges[-self.size :] if self.from_the_end else edges[: self.size]) if each < total]


@settings(max_examples=PROPERTY_CASES, deadline=None)
@example(thread=Thread(7, 0), asked=Asked(1, from_the_end=True, after=5, before=None))
@given(
    thread=st.builds(Thread, st.integers(0, 10), st.none() | st.integers(-1, 12)),
    asked=st.builds(Asked, st.integers(1, 12), st.booleans(), POSITIONS, POSITIONS),
)
def test_a_page_has_the_edges_that_the_specification_says(loop: asyncio.Runner, thread: Thread, asked: Asked) -> None:
    """Both executors find the same."""
    operation = Operation(PAGE, None, asked.variables)
    planned, reference = (loop.run(run(each, operation, thread.answer)) for each in (PLANNED, REFERENCE))
    assert planned == reference

    expected = asked.positions(thread.total)
    found = msgspec.json.decode(planned.body)["data"]["thread"]["messages"]
    assert found["nodes"] == [{"id": str(position)} for position in expected]
    assert [each["cursor"] for each in found["edges"]] == [cursor_at(position) for position in expected]
    if expected:
        assert found["pageInfo"]["hasPreviousPage"] is (expected[0] > 0)
        assert found["pageInfo"]["hasNextPage"] is (expected[-1] < thread.total - 1)
    is_known = asked.before is not None or not asked.from_the_end or thread.count == thread.total
    assert len(planned.calls) <= (2 if is_known else 3)
