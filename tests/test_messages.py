"""Thread.messages: a Relay connection over the REST API's offset and limit."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox, seed
from tests.harness import Gateway, StartGateway

PAGE = """query ($id: ID! = "th-long", $first: Int, $after: String, $last: Int, $before: String) {
  thread(id: $id) {
    messages(first: $first, after: $after, last: $last, before: $before) {
      totalCount
      nodes { id }
      edges { cursor node { id } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}"""


def page(gateway: Gateway, **variables: Any) -> Any:
    return gateway.data(PAGE, **variables)["thread"]["messages"]


def test_paging_returns_every_message_once_in_order(gateway: Gateway, sandbox: Sandbox) -> None:
    expected = [each["id"] for each in seed().messages["th-long"]]
    seen: list[str] = []
    after = None
    while True:
        part = page(gateway, first=100, after=after)
        assert part["totalCount"] == len(expected)
        assert part["nodes"] == [edge["node"] for edge in part["edges"]]
        assert part["pageInfo"]["hasPreviousPage"] is bool(seen)
        seen += [node["id"] for node in part["nodes"]]
        after = part["pageInfo"]["endCursor"]
        if not part["pageInfo"]["hasNextPage"]:
            break
    assert seen == expected
    assert sandbox.count("messages") == 10


def test_without_arguments_the_page_has_twenty_messages(gateway: Gateway) -> None:
    data = gateway.data('{ thread(id: "th-long") { messages { nodes { id } } } }')
    assert len(data["thread"]["messages"]["nodes"]) == 20


def test_a_cursor_is_the_position_of_its_edge(gateway: Gateway) -> None:
    first = page(gateway, first=5)
    second = page(gateway, first=2, after=first["edges"][1]["cursor"])
    assert second["edges"] == first["edges"][2:4]
    assert second["pageInfo"]["startCursor"] == first["edges"][2]["cursor"]


def test_after_the_last_message_there_is_an_empty_page(gateway: Gateway) -> None:
    last = page(gateway, first=100, after=page(gateway, first=1)["pageInfo"]["endCursor"])
    while last["pageInfo"]["hasNextPage"]:
        last = page(gateway, first=100, after=last["pageInfo"]["endCursor"])
    empty = page(gateway, first=3, after=last["pageInfo"]["endCursor"])
    assert empty["nodes"] == []
    assert empty["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": True,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize(
    ("name", "size", "smallest"), [("first", -1, 0), ("last", 0, 1), ("first", 101, 0), ("last", 2**31 - 1, 1)]
)
def test_a_page_size_out_of_range_is_refused_without_a_call(
    gateway: Gateway, sandbox: Sandbox, name: str, size: int, smallest: int
) -> None:
    answer = gateway.query(PAGE, **{name: size})
    assert answer["data"]["thread"] == {"messages": None}
    assert answer["errors"][0]["message"] == f"`{name}` is {size}: it must be from {smallest} to 100."
    assert answer["errors"][0]["extensions"]["code"] == ("BAD_USER_INPUT" if size < 1 else "MAX_PAGE_LIMIT")
    assert sandbox.count("messages") == 0


def test_the_largest_page_is_a_setting(start: StartGateway) -> None:
    assert len(page(start(max_page_size=3), first=3)["nodes"]) == 3
    assert start(max_page_size=3).code(PAGE, first=4) == "MAX_PAGE_LIMIT"


@pytest.mark.parametrize("cursor", ["", "x", "b2Zmc2V0Oi0x", "b2Zmc2V0Ojk5OTk5OTk5OTk5", "ünï", "b2Zmc2V0Og=="])
@pytest.mark.parametrize(("argument", "source"), [("after", "endCursor"), ("before", "startCursor")])
def test_an_invalid_cursor_is_refused(gateway: Gateway, cursor: str, argument: str, source: str) -> None:
    (error,) = gateway.query(PAGE, **{argument: cursor})["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert f"`{argument}` is not a cursor" in error["message"]
    assert error["message"].endswith(f"`pageInfo.{source}`.")


def test_no_message_is_lost_if_the_upstream_caps_the_limit(gateway: Gateway, sandbox: Sandbox) -> None:
    """The next page starts after the returned messages, not after the requested ones."""
    messages = seed().messages["th-long"][:3]
    sandbox.faults.add(Fault("messages", times=1, patch={"messages": messages}))
    info = page(gateway, first=10)["pageInfo"]
    assert info["hasNextPage"]
    assert page(gateway, first=1, after=info["endCursor"])["nodes"][0]["id"] == seed().messages["th-long"][3]["id"]


def test_more_messages_than_requested_are_cut(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", patch={"messages": seed().messages["th-long"][:50]}))
    assert len(page(gateway, first=7)["nodes"]) == 7


def test_a_missing_or_invalid_total_affects_only_the_total(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", times=1, patch={"total": None}))
    assert page(gateway, first=5)["totalCount"] is None
    sandbox.faults.add(Fault("messages", times=1, patch={"total": "many"}))
    answer = gateway.query(PAGE, first=5)
    assert answer["errors"][0]["path"] == ["thread", "messages", "totalCount"]
    assert len(answer["data"]["thread"]["messages"]["nodes"]) == 5
    assert answer["data"]["thread"]["messages"]["pageInfo"]["hasNextPage"] is True


@pytest.mark.parametrize("total", ["900", 900.0, 900])
def test_the_total_and_the_next_page_are_read_from_one_value(gateway: Gateway, sandbox: Sandbox, total: Any) -> None:
    sandbox.faults.add(Fault("messages", patch={"total": total, "messages": seed().messages["th-long"][:5]}))
    found = page(gateway, first=100)
    assert found["totalCount"] == 900
    assert found["pageInfo"]["hasNextPage"] is True


@pytest.mark.parametrize("cursor", ["offset:+3", "offset:03", "offset: 3", "offset:1_0", "offset:\u0663"])
def test_a_cursor_in_another_spelling_is_refused(gateway: Gateway, cursor: str) -> None:
    assert gateway.code(PAGE, after=urlsafe_b64encode(cursor.encode()).decode()) == "BAD_USER_INPUT"


def test_the_thread_is_returned_if_its_messages_fail(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", status=503))
    answer = gateway.query('{ thread(id: "th-1") { id messages { totalCount } } }')
    assert answer["data"] == {"thread": {"id": "th-1", "messages": None}}
    assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"


def test_two_pages_of_one_thread_are_two_calls(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.data("""{ thread(id: "th-long") {
      a: messages(first: 1) { totalCount } b: messages(first: 1) { nodes { id } } c: messages(first: 2) { totalCount }
    } }""")
    assert sandbox.count("messages") == 2
