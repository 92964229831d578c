"""A worker has one Redis client, whatever uses it."""

import hashlib
from collections.abc import Iterator

import pytest
import redis

from tests.harness import StartGateway
from tests.upstream.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def test_everything_in_a_gateway_that_uses_redis_shares_one_connection(
    start: StartGateway, server: RedisServer
) -> None:
    """Cache, login lock, persisted documents and rates: one after another they need one connection."""
    gateway = start(
        cache_url=server.url,
        cache_secret="sixteen or more letters",
        cache_timeout=5,
        rate_limit="100/minute",
        upstream_auth="basic",
    )
    document = '{ thread(id: "th-1") { id } }'
    digest = hashlib.sha256(document.encode()).hexdigest()
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
    for body in ({"extensions": persisted}, {"query": document, "extensions": persisted}, {"extensions": persisted}):
        assert gateway.http.post("/graphql", json=body).status_code == 200
    with redis.Redis.from_url(server.url) as client:
        kinds = {key.decode().split(":")[1] for key in client.keys("gochat-gateway:*")}
        assert {"persisted", "generation", "rate"} <= kinds
        # The reader of events has a connection of its own: it waits on it.
        assert len(client.client_list()) == 3, "the gateway's, its reader's, and that of this test"
