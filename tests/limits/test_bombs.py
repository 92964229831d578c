"""No request under the body's limit costs more than 50 ms of CPU, including the client, whatever it contains."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import httpx
import pytest

from gateway.app import create_app
from gateway.errors import LimitExceeded
from gateway.execution.documents.limits import limits_of, parse_within
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.harness import SERVICE, Gateway, settings
from tests.limits.bombs import DOCUMENTS, VARIABLES, Body
from tests.limits.watch import slowness

pytestmark = pytest.mark.slow

MOST_CPU = 0.050
TRIES = 25
"""The number of measurements: on a busy machine, at least one of them is undisturbed."""
BODY = settings().limits.body
_LIMITS = limits_of(settings().limits)
_PADS = itertools.count()


def fits(document: str) -> bool:
    """Return whether a document is within the limits that are checked before validation."""
    try:
        parse_within(document, _LIMITS)
    except LimitExceeded:
        return False
    except Exception:  # noqa: BLE001 - it is not refused by a limit
        return True
    return True


def sizes(text: Callable[[int], str], most: int) -> list[int]:
    """Return the numbers around the limit of a document, and about the largest number that fits into a body.

    That is estimated first, because a document with as many elements as a body has bytes takes seconds to build.
    """
    few = len(text(1000))
    low, high = 1, min(most, 1000 + 1000 * max(0, BODY - few) // (len(text(2000)) - few))
    while len(text(high)) > BODY - 1000 and high > 1:
        high = high * (BODY - 1000) // len(text(high))
    largest = high
    if fits(text(high)):
        return [high]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(text(middle)) else (low, middle)
    return [low, high, largest]


def cpu(gateway: Gateway, request: Callable[[int], bytes], least: float = MOST_CPU) -> float:
    """Return the least CPU time that the whole process takes for one request; each request is different.

    The time is divided by how slow the machine is at that moment, which changes from one second to the next.
    """
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    best = float("inf")
    for _ in range(TRIES):
        body = request(next(_PADS) % 100)
        slow_before = slowness(1)
        started = time.process_time()
        connection.request("POST", "/graphql", body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        spent = time.process_time() - started
        best = min(best, spent / min(slow_before, slowness(1)))
        assert response.status in {200, 400, 413}, response.status
        if best < least:
            break
    connection.close()
    return best


def padded(document: str) -> Callable[[int], bytes]:
    """Return a request whose document differs each time by a few blanks, so that it is not cached."""
    return lambda pad: json.dumps({"query": " " * pad + document}).encode()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """One gateway for all tests: it keeps no refused document."""
    sandbox = Sandbox()
    sandbox.faults.add(Fault(status=404))  # the cost of REST responses is not measured here
    with ExitStack() as servers:
        upstream = servers.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        app = create_app(settings(upstream_url=upstream, **SERVICE))
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        gateway = Gateway(servers.enter_context(httpx.Client(base_url=url, trust_env=False)), url)
        gateway.query("{ _service { sdl } }")
        yield gateway


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_any_size_is_cheap(gateway: Gateway, name: str) -> None:
    document = DOCUMENTS[name]
    spent = {count: cpu(gateway, padded(document(count))) for count in sizes(document, BODY)}
    assert max(spent.values()) < MOST_CPU, spent


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("size", [10_000, 100_000, BODY - 2000])
def test_variables_of_any_size_are_cheap(gateway: Gateway, name: str, size: int) -> None:
    body: Body = VARIABLES[name](size)
    encoded = json.dumps(body).encode()
    assert len(encoded) <= BODY + 100 * 1024
    assert cpu(gateway, lambda pad: encoded + b" " * pad) < MOST_CPU


def test_a_repeated_invalid_document_is_cheaper_and_does_not_fill_the_cache(gateway: Gateway) -> None:
    """A client may repeat an invalid document; it does not evict valid ones."""
    wrong = " ".join(f"thred{index}" for index in range(400))
    first = cpu(gateway, padded("{" + wrong + "}"), least=0)
    again = min(cpu(gateway, lambda _: json.dumps({"query": "{" + wrong + "}"}).encode(), least=0) for _ in range(3))
    assert again < first / 2, (first, again)
