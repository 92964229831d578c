"""What a client may send on a WebSocket: whatever it is, the answer is a message or a reason."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.graphql.websocket.messages import ClientMessage, InvalidMessage, pong, read
from tests.selection import PROPERTY_CASES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TYPES = ["connection_init", "ping", "pong", "subscribe", "complete", "connection_ack", "next", "error", "", "stop"]
PAYLOADS = JSON | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("query", "operationName", "variables", "extensions", "documentId"), JSON)
)
MESSAGES = JSON | st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(TYPES) | JSON, "id": st.text() | JSON, "payload": PAYLOADS}
)


def reading(text: str | bytes) -> ClientMessage | None:
    """Return the message, None where there is a reason to refuse it."""
    reason = "The message is valid"
    message = None
    try:
        message = read(text)
    except InvalidMessage as exc:
        reason = str(exc)
    assert reason.startswith("The ")
    return message


@settings(max_examples=PROPERTY_CASES)
@given(MESSAGES)
def test_a_message_is_read_or_refused_with_a_reason(value: Any) -> None:
    message = reading(json.dumps(value))
    if message is None:
        return
    assert message.type in TYPES[:5]
    assert message.fields() == (value.get("payload") or {})
    if message.type in {"subscribe", "complete"}:
        assert isinstance(message.id, str)
        assert message.id


@settings(max_examples=PROPERTY_CASES)
@given(st.binary() | st.text())
def test_what_is_no_json_is_refused_with_a_reason(text: str | bytes) -> None:
    reading(text)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_a_pong_carries_what_its_ping_does(payload: dict[str, Any]) -> None:
    message = read(json.dumps({"type": "ping", "payload": payload}))
    assert json.loads(pong(message.payload)) == {"type": "pong", "payload": payload}
    assert pong(msgspec.Raw()) == '{"type":"pong"}'
