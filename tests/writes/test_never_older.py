"""A read that follows a write is never older than the write, in any worker and in any gateway.

``READS_AFTER_WRITES=1000 uv run pytest tests/writes/test_never_older.py`` tries it a thousand times.
"""

import os
import threading

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, StartGateway
from tests.programs import Start, serving
from tests.upstream.redis_server import RedisServer

TRIES = int(os.environ.get("READS_AFTER_WRITES", "60"))
READ = {"query": '{ thread(id: "th-1") { tags } }'}
WRITE = 'mutation { updateThread(input: {id: "th-1", tagCodes: ["%d"]}) { outcome } }'


def tags(url: str) -> list[str]:
    """Read on a new connection: the supervisor gives each to the next worker."""
    answer = httpx.post(url, json=READ, trust_env=False, verify=NO_CERTIFICATES, timeout=60).json()
    found: list[str] = answer["data"]["thread"]["tags"]
    return found


@pytest.mark.slow
def test_a_read_after_a_write_is_never_older(
    begin: Start, start: StartGateway, sandbox: Sandbox, upstream: str, server: RedisServer
) -> None:
    """Two workers of one gateway and a second gateway, which other readers keep busy, so that their caches are full."""
    cache = {"cache_url": server.url, "cache_secret": "a secret of the tests", "cache_timeout": "5"}
    options = {"mutations": "true", "cache_ttl_thread": "60", "upstream_url": upstream, **cache}
    program = begin("serve", "--port", "0", **SERVICE, workers="2", instances="2", **options)
    url = serving(program)
    other: Gateway = start(**{**options, "mutations": True})
    urls = [url, url, f"{other.url}/graphql"]
    over = threading.Event()

    def read_on() -> None:
        while not over.wait(0.005):
            tags(urls[threading.get_ident() % 3])

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    older = []
    try:
        for number in range(TRIES):
            writer = urls[number % 3]
            body = {"query": WRITE % number}
            answer = httpx.post(writer, json=body, trust_env=False, verify=NO_CERTIFICATES, timeout=60).json()
            assert answer["data"]["updateThread"]["outcome"] == "APPLIED"
            older += [(number, each) for each in urls if tags(each) != [str(number)]]
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert older == []
    assert sandbox.count("thread") < sandbox.count("update_thread") * 8, "the caches were used"
