"""Trusted and persisted documents, and rates, hold for subscriptions and mutations over every transport."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import PASSWORD, USERNAME
from tests.upstream.cached import basic
from tests.web.streams.conftest import LiveGateway
from tests.web.streams.responses import EVENTS, PARTS, events_of, parts_of, streamed
from tests.web.streams.sockets import begun

WATCH = 'subscription Watch { threadUpdated(id: "th-1") { id } }'
WRITE = 'mutation Write { updateThread(input: {id: "th-1", comment: "Hello"}) { outcome } }'
RESULTS = {WATCH: {"threadUpdated": {"id": "th-1"}}, WRITE: {"updateThread": {"outcome": "APPLIED"}}}
OTHER = {WATCH: WATCH.replace("id }", "status }"), WRITE: WRITE.replace("Hello", "Another")}
PASSTHROUGH = {"upstream_identity": "passthrough", "upstream_username": None, "upstream_password": None}
StartLive = Callable[..., LiveGateway]


def digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def first_by_sse(live: LiveGateway, query: str | None, **parameters: Any) -> Any:
    with streamed(live, query, EVENTS, **parameters) as response:
        return next(each.data for each in events_of(response) if each.type == "next")


def first_by_multipart(live: LiveGateway, query: str | None, **parameters: Any) -> Any:
    with streamed(live, query, PARTS, **parameters) as response:
        if response.headers["content-type"].startswith("application/json"):
            return json.loads(response.read())  # of what is no subscription, or is refused
        part = next(each for each in parts_of(response) if each)
        return part["payload"] or {"errors": part["errors"]}


def first_by_websocket(live: LiveGateway, query: str | None, **parameters: Any) -> Any:
    with begun(live, {"authorization": live.http.headers.get("authorization")}) as socket:
        socket.subscribe("1", query, **parameters)
        message = socket.receive()
        return message["payload"] if message["type"] == "next" else {"errors": message["payload"]}


First = Callable[..., Any]
FIRSTS: list[First] = [first_by_sse, first_by_multipart, first_by_websocket]


@pytest.fixture(params=FIRSTS, ids=lambda each: each.__name__)
def first(request: pytest.FixtureRequest) -> First:
    chosen: First = request.param
    return chosen


def code(result: Any) -> str:
    (error,) = result["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("document", [WATCH, WRITE], ids=["subscription", "mutation"])
def test_only_trusted_documents_are_executed(
    start_live: StartLive, tmp_path: Path, first: First, document: str
) -> None:
    operations = [{"id": "known", "name": "Known", "type": "subscription", "body": document}]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps({"format": "apollo-persisted-query-manifest", "version": 1, "operations": operations})
    )
    live = start_live(mutations=True, trusted_documents=manifest, trusted_documents_mode="require")
    assert first(live, document)["data"] == RESULTS[document]
    assert first(live, None, documentId="known")["data"] == RESULTS[document]
    assert code(first(live, OTHER[document])) == "DOCUMENT_NOT_TRUSTED"
    assert live.sandbox.count("update_thread") == (2 if document == WRITE else 0)


@pytest.mark.parametrize("document", [WATCH, WRITE], ids=["subscription", "mutation"])
def test_a_document_is_found_by_its_hash(start_live: StartLive, first: First, document: str) -> None:
    live = start_live(mutations=True)
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest(document)}}
    assert code(first(live, None, extensions=extensions)) == "PERSISTED_QUERY_NOT_FOUND"
    assert first(live, document, extensions=extensions)["data"] == RESULTS[document]
    assert first(live, None, extensions=extensions)["data"] == RESULTS[document]
    assert live.sandbox.count("update_thread") == (2 if document == WRITE else 0)


@pytest.mark.parametrize("is_known", [True, False])
def test_the_document_of_a_subscription_is_kept_for_callers_that_the_rest_api_knows(
    start_live: StartLive, first: First, is_known: bool
) -> None:
    live = start_live(**PASSTHROUGH, inbound_auth=None)
    live.http.headers["authorization"] = basic(USERNAME, PASSWORD if is_known else "wrong")
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest(WATCH)}}
    assert ("errors" in first(live, WATCH, extensions=extensions)) is not is_known
    result = first(live, None, extensions=extensions)
    assert result == {"data": RESULTS[WATCH]} if is_known else code(result) == "PERSISTED_QUERY_NOT_FOUND"


def test_subscriptions_count_for_the_rate_of_their_caller(start_live: StartLive, first: First) -> None:
    live = start_live(rate_limit="2/hour")
    for _ in range(2):
        assert first(live, WATCH)["data"] == RESULTS[WATCH]
    if first is first_by_websocket:
        assert code(first(live, WATCH)) == "RATE_LIMITED"
    else:
        response = live.http.post("/graphql", json={"query": WATCH}, headers=EVENTS)
        assert (response.status_code, code(response.json())) == (429, "RATE_LIMITED")
