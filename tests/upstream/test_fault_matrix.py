"""Every fault on every route: the error that the caller gets, and the number of attempts and calls."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.auth import Viewer
from gateway.errors import GatewayError
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.upstream.client import CallContext
from gateway.upstream.contract import READS, ROUTES
from tests.harness import Clock, Gateway, StartGateway, build_client, settings
from tests.http1.raw_server import Authority, stalled_port
from tests.queries import query_for

HTML = "<html><body>502 Bad Gateway</body></html>"
QUERIES = {each.name: query_for(each) for each in READS}
FAULTS: dict[str, dict[str, Any]] = {
    "reset before a byte": {"drop": "before"},
    "reset mid-body": {"drop": "mid-body"},
    "no answer": {"hold": "for ever"},
    "slow body": {"trickle": 60},
    "401 once": {"status": 401, "times": 1},
    "401 always": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "409": {"status": 409},
    "429 with Retry-After": {"status": 429, "headers": {"retry-after": "1"}},
    "429 with a late Retry-After": {"status": 429, "headers": {"retry-after": "3600"}},
    "429": {"status": 429},
    "500": {"status": 500},
    "502 HTML": {"status": 502, "body": HTML, "content_type": "text/html"},
    "503": {"status": 503},
    "503 once": {"status": 503, "times": 1},
    "truncated JSON": {"body": '{"id": "th-1", "cust'},
    "HTML": {"body": HTML, "content_type": "text/html"},
    "wrong shape": {"body": '["th-1"]'},
}


@dataclass(frozen=True)
class Outcome:
    """The error's code (None: no error), the attempts of the call, and the calls that reached the upstream."""

    code: str | None
    attempts: int
    calls: int


# The outcome of a GET on any route.
GET = {
    # The first attempt uses a kept connection. Its end before a byte may only mean that it was idle for too long, so
    # this attempt includes a second call on a new connection.
    "reset before a byte": Outcome("UPSTREAM_UNAVAILABLE", 3, 4),
    "reset mid-body": Outcome("UPSTREAM_UNAVAILABLE", 3, 3),
    "no answer": Outcome("UPSTREAM_TIMEOUT", 3, 3),
    "slow body": Outcome("UPSTREAM_TIMEOUT", 3, 3),
    "401 once": Outcome(None, 2, 2),
    "401 always": Outcome("UNAUTHENTICATED", 2, 2),
    "403": Outcome("FORBIDDEN", 1, 1),
    "404": Outcome(None, 1, 1),
    "409": Outcome("BAD_USER_INPUT", 1, 1),
    "429 with Retry-After": Outcome("RATE_LIMITED", 3, 3),
    "429 with a late Retry-After": Outcome("RATE_LIMITED", 1, 1),
    "429": Outcome("RATE_LIMITED", 3, 3),
    "500": Outcome("UPSTREAM_ERROR", 1, 1),
    "502 HTML": Outcome("UPSTREAM_UNAVAILABLE", 3, 3),
    "503": Outcome("UPSTREAM_UNAVAILABLE", 3, 3),
    "503 once": Outcome(None, 2, 2),
    "truncated JSON": Outcome("UPSTREAM_INVALID_RESPONSE", 1, 1),
    "HTML": Outcome("UPSTREAM_INVALID_RESPONSE", 1, 1),
    "wrong shape": Outcome("UPSTREAM_INVALID_RESPONSE", 1, 1),
}
# The outcome of the login call: a POST, so it is never sent twice.
LOGIN = {
    "reset before a byte": "UPSTREAM_UNAVAILABLE",
    "reset mid-body": "UPSTREAM_UNAVAILABLE",
    "no answer": "UPSTREAM_TIMEOUT",
    "slow body": "UPSTREAM_TIMEOUT",
    "401 once": "UNAUTHENTICATED",
    "401 always": "UNAUTHENTICATED",
    "403": "UNAUTHENTICATED",
    "404": "UPSTREAM_ERROR",
    "409": "UPSTREAM_ERROR",
    "429 with Retry-After": "RATE_LIMITED",
    "429 with a late Retry-After": "RATE_LIMITED",
    "429": "RATE_LIMITED",
    "500": "UPSTREAM_ERROR",
    "502 HTML": "UPSTREAM_UNAVAILABLE",
    "503": "UPSTREAM_UNAVAILABLE",
    "503 once": "UPSTREAM_UNAVAILABLE",
    "truncated JSON": "UPSTREAM_INVALID_RESPONSE",
    "HTML": "UPSTREAM_INVALID_RESPONSE",
    "wrong shape": "UPSTREAM_INVALID_RESPONSE",
}


def ask(gateway: Gateway, document: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the codes of the errors and the report of the REST calls."""
    response = gateway.http.post("/graphql", json={"query": document}, headers={"gateway-explain": "1"})
    assert response.status_code == 200, response.text
    answer = response.json()
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
    return codes, answer["extensions"]["upstream"]


def explaining(start: StartGateway, fault: str, **given: Any) -> Gateway:
    """Start a gateway; it has a short read timeout where the upstream sends nothing."""
    read_timeout = 0.3 if fault in {"no answer", "slow body"} else 30
    return start(timing=Clock().timing, explain=True, upstream_read_timeout=read_timeout, **given)


@pytest.mark.parametrize("route", QUERIES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_get(start: StartGateway, sandbox: Sandbox, name: str, route: str) -> None:
    gateway = explaining(start, name)
    assert ask(gateway, QUERIES[route])[0] == [], "the gateway has a token, and the call succeeds"
    sandbox.clear()
    sandbox.faults.add(Fault(route, **FAULTS[name]))
    codes, reports = ask(gateway, QUERIES[route])
    (attempts,) = [report["attempts"] for report in reports if report["route"] == ROUTES[route].template]
    assert Outcome(codes[0] if codes else None, attempts, sandbox.count(route)) == GET[name]
    assert sandbox.count("token") == (1 if name.startswith("401") else 0)


@pytest.mark.slow  # every fault once more
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_get_on_tls(
    start: StartGateway, sandbox: Sandbox, servers: ExitStack, authority: Authority, name: str
) -> None:
    config = sandbox_config(sandbox.app)
    config.ssl_certfile = authority.folder / "server.pem"
    port = servers.enter_context(BackgroundServer(config)).port  # it stops after the gateway
    gateway = explaining(
        start, name, upstream_url=f"https://127.0.0.1:{port}", upstream_ca_file=authority.folder / "root.pem"
    )
    assert ask(gateway, QUERIES["thread"])[0] == []
    sandbox.clear()
    sandbox.faults.add(Fault("thread", **FAULTS[name]))
    codes, (report,) = ask(gateway, QUERIES["thread"])
    assert Outcome(codes[0] if codes else None, report["attempts"], sandbox.count("thread")) == GET[name]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_login(start: StartGateway, sandbox: Sandbox, name: str) -> None:
    gateway = explaining(start, name)
    sandbox.faults.add(Fault("token", **FAULTS[name]))
    codes, reports = ask(gateway, QUERIES["thread"])
    assert codes == [LOGIN[name]]
    assert sandbox.count("token") == sandbox.count() == 1
    assert [report["attempts"] for report in reports] == [0], "without a token the call itself is not sent"


@pytest.fixture
def stalled() -> Iterator[str]:
    """Give the address of a server that never takes a connection."""
    with stalled_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def refusing() -> str:
    """Return the address of a port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# The login is a POST, but it is retried if no connection was established.
@pytest.mark.parametrize("identity", ["passthrough", "service"])
@pytest.mark.parametrize(("fault", "code"), [("refusing", "UPSTREAM_UNAVAILABLE"), ("stalled", "UPSTREAM_TIMEOUT")])
@pytest.mark.parametrize("route", ["thread", "customer"])
def test_a_connection_that_cannot_be_established(
    start: StartGateway, request: pytest.FixtureRequest, route: str, fault: str, code: str, identity: str
) -> None:
    clock = Clock()
    url = request.getfixturevalue(fault)
    gateway = start(
        {"authorization": "Bearer x"},
        timing=clock.timing,
        explain=True,
        upstream_url=url,
        upstream_identity=identity,
        upstream_connect_timeout=0.1,
    )
    codes, reports = ask(gateway, QUERIES[route])
    assert codes == [code]
    assert [report["attempts"] for report in reports] == [3 if identity == "passthrough" else 0]
    assert clock.slept == [0.05, 0.1], "two retries, the second after twice the wait"


@pytest.mark.parametrize(("fault", "code"), [("refusing", "UPSTREAM_UNAVAILABLE"), ("stalled", "UPSTREAM_TIMEOUT")])
async def test_a_connection_that_cannot_be_established_for_messages(
    request: pytest.FixtureRequest, fault: str, code: str
) -> None:
    """Calls the client directly: a query would fail at the thread already."""
    url = request.getfixturevalue(fault)
    configured = settings(upstream_url=url, upstream_identity="passthrough", upstream_connect_timeout=0.1)
    caller = CallContext(Viewer("Bearer x"), asyncio.get_running_loop().time() + 60)
    async with build_client(configured, timing=Clock().timing) as client:
        with pytest.raises(GatewayError) as caught:
            await client.messages(caller, "th-1", 0, 20)
    assert caught.value.code == code
    assert [report.attempts for report in caller.reports] == [3]
