"""How a stream ends on the wire, by the reason of its end."""

import pytest

from gateway.execution.subscriptions.subscription import EndReason
from gateway.web.graphql.streams.http import Parts, ServerSentEvents

ERRORS = b'[{"message":"It is over."}]'


@pytest.mark.parametrize("reason", EndReason)
def test_a_multipart_response_always_ends_with_its_closing_boundary(reason: EndReason) -> None:
    """Without it a client takes the response for cut off."""
    end = Parts().interrupted(ERRORS, reason)
    assert end.endswith(b'{"payload":null,"errors":' + ERRORS + b"}\r\n--graphql--\r\n")


@pytest.mark.parametrize("reason", EndReason)
def test_an_event_stream_is_complete_only_where_its_client_must_not_connect_again(reason: EndReason) -> None:
    """An EventSource connects again until it gets `complete`: with expired credentials that would never end."""
    end = ServerSentEvents().interrupted(ERRORS, reason)
    if reason is EndReason.EXPIRED:
        complete = b"event: complete\ndata:\n\n"
        assert end == b'event: next\ndata: {"errors":' + ERRORS + b"}\n\n" + complete
    else:
        assert end == b""
