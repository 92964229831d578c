"""A response to a GET that names its document can be revalidated."""

import gzip
import hashlib
import json

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.upstream.cached import basic

QUERY = '{ thread(id: "th-100") { id messageCount } }'
CACHED = "private, no-cache"


def digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def teach(gateway: Gateway, document: str) -> httpx.Response:
    extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": digest(document)}})
    return gateway.http.get("/graphql", params={"query": document, "extensions": extensions})


def ask(gateway: Gateway, document: str = QUERY, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.http.get("/graphql", params={"documentId": f"sha256:{digest(document)}"}, headers=sent)


def is_304(response: httpx.Response) -> bool:
    if response.status_code != 304:
        return False
    assert response.content == b""
    assert "content-type" not in response.headers
    assert "content-length" not in response.headers
    assert "content-encoding" not in response.headers
    return True


def test_an_unchanged_response_is_304(gateway: Gateway) -> None:
    first = teach(gateway, QUERY)
    assert first.status_code == 200
    assert first.headers["cache-control"] == CACHED
    again = ask(gateway, if_none_match=first.headers["etag"])
    assert is_304(again)
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name], "304 has the headers that 200 would have"
    assert again.headers["vary"] == "accept, accept-encoding"
    assert "x-request-id" in again.headers


def test_a_changed_response_is_sent(gateway: Gateway, sandbox: Sandbox) -> None:
    tag = teach(gateway, QUERY).headers["etag"]
    sandbox.faults.add(Fault("thread", patch={"message_count": 4711}))
    changed = ask(gateway, if_none_match=tag)
    assert changed.json()["data"]["thread"]["messageCount"] == 4711
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("sent", "matches"),
    [
        ("{tag}", True),
        ("{strong}", True),
        ('"other", {tag}', True),
        ('"other",{strong},"more"', True),
        ("*", True),
        ('"other"', False),
        ("", False),
        ("{bare}", False),
    ],
)
def test_a_client_may_send_several_tags_or_any(gateway: Gateway, sent: str, matches: bool) -> None:
    tag = teach(gateway, QUERY).headers["etag"]
    strong = tag.removeprefix("W/")
    header = sent.format(tag=tag, strong=strong, bare=strong.strip('"'))
    assert is_304(ask(gateway, if_none_match=header)) is matches


def test_each_media_type_has_its_own_tag(gateway: Gateway) -> None:
    tag = teach(gateway, QUERY).headers["etag"]
    assert ask(gateway, accept="application/graphql-response+json", if_none_match=tag).status_code == 200


def test_a_compressed_response_has_the_tag_of_the_plain_one(start: StartGateway) -> None:
    gateway = start(compress_from=10)
    tag = teach(gateway, QUERY).headers["etag"]
    plain = ask(gateway, accept_encoding="identity")
    request = gateway.http.build_request("GET", plain.url, headers={"accept-encoding": "gzip"})
    response = gateway.http.send(request, stream=True)
    assert gzip.decompress(b"".join(response.iter_raw())) == plain.content
    assert plain.headers["etag"] == response.headers["etag"] == tag
    assert is_304(ask(gateway, if_none_match=tag, accept_encoding="gzip"))


def test_a_response_with_an_error_is_not_cached(gateway: Gateway, sandbox: Sandbox) -> None:
    unknown = ask(gateway)
    assert unknown.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    teach(gateway, QUERY)
    sandbox.faults.add(Fault("thread", status=500))
    for response in (unknown, ask(gateway), ask(gateway, if_none_match="*")):
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        assert "etag" not in response.headers


def test_a_caller_whose_credentials_are_rejected_gets_no_304(start: StartGateway) -> None:
    gateway = start(
        headers={"authorization": basic(USERNAME, PASSWORD)},
        upstream_identity="passthrough",
        upstream_username=None,
        upstream_password=None,
        inbound_auth=None,
    )
    tag = teach(gateway, QUERY).headers["etag"]
    assert is_304(ask(gateway, if_none_match=tag))
    rejected = ask(gateway, if_none_match=tag, authorization=basic(USERNAME, "wrong"))
    assert rejected.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert rejected.headers["cache-control"] == "no-store"
    del gateway.http.headers["authorization"]
    assert ask(gateway, if_none_match=tag).status_code == 401


def test_other_requests_get_no_tag(gateway: Gateway) -> None:
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest(QUERY)}}
    for response in (
        gateway.http.get("/graphql", params={"query": QUERY}, headers={"if-none-match": "*"}),
        gateway.http.post("/graphql", json={"query": QUERY, "extensions": extensions}, headers={"if-none-match": "*"}),
    ):
        assert response.status_code == 200
        assert "etag" not in response.headers
        assert response.headers["cache-control"] == "no-store"
