"""A stream lasts as long as its token, and each transport says that it is over. The gateway's clock stands still."""

from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.auth.issuer import Issuer
from tests.harness import Clock, Gateway, StartGateway
from tests.web.streams.responses import EVENTS, PARTS, Event, events_of, parts_of, streamed
from tests.web.streams.sockets import begun

THREAD = 'subscription { threadUpdated(id: "th-1") { id } }'
STATE = {"data": {"threadUpdated": {"id": "th-1"}}}
EXPIRED = ("UNAUTHENTICATED", "The credentials have expired.")


@pytest.fixture
def gateway(start_with_tokens: StartGateway, issuer: Issuer, clock: Clock) -> Gateway:
    gateway = start_with_tokens(jwt_leeway=0)
    gateway.http.headers["authorization"] = f"Bearer {issuer.token(exp=clock() + 0.2)}"
    return gateway


def shown(error: Any) -> tuple[str, str]:
    return error["extensions"]["code"], error["message"]


def is_state(result: Any) -> bool:
    """Whether a result is the current state, which a busy gateway may not have before the token expires."""
    return bool(result == STATE)


def test_an_event_stream_says_why_and_is_complete(gateway: Gateway) -> None:
    """Without ``complete`` the client would come back with the same token."""
    with streamed(gateway, THREAD, EVENTS) as response:
        *states, last, end = (each for each in events_of(response) if each.type)
    assert all(is_state(each.data) for each in states)
    assert end == Event("complete", "")
    assert (list(last.data), [shown(each) for each in last.data["errors"]]) == (["errors"], [EXPIRED])


def test_a_last_part_has_no_payload(gateway: Gateway) -> None:
    with streamed(gateway, THREAD, PARTS) as response:
        *states, last = (each for each in parts_of(response) if each)
    assert all(is_state(each["payload"]) for each in states)
    assert (last["payload"], [shown(each) for each in last["errors"]]) == (None, [EXPIRED])


def test_a_socket_is_closed_with_a_code_after_which_clients_fetch_a_token(gateway: Gateway) -> None:
    with begun(gateway, {"authorization": gateway.http.headers["authorization"]}) as socket:
        socket.subscribe("1", THREAD)
        with suppress(ConnectionClosed):
            assert is_state(socket.receive()["payload"])
        assert socket.closed() == (4403, "Forbidden: the credentials have expired")
