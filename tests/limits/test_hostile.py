"""Whoever sends what: nobody else waits for more than 50 ms, and a worker takes no more than 100 MB.

A hostile client or a hostile REST API talks to a gateway that runs as a process. Meanwhile `Watch` asks it for its
health, and looks at its memory.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.limits.hostile import (
    FRAMES,
    OPERATIONS,
    REQUESTS,
    WEBHOOK_AUTHORIZATION,
    WEBHOOKS,
    Answer,
    HostileServer,
    Operation,
    send,
    send_frames,
)
from tests.limits.watch import Watch, slowness
from tests.programs import MODULE, Program, free_port, serving

pytestmark = pytest.mark.slow

LONGEST_BLOCKED = 0.050
MOST_MEGABYTES = 100
TRIES = 4
"""The number of measurements: on a busy machine, at least one of them is undisturbed."""


_HEADERS = {"content-type": "application/json", "accept": "multipart/mixed, application/json"}


class Gateway:
    """A gateway in a process of its own, and the memory it took before anything hostile happened."""

    def __init__(self, program: Program, rest_api: HostileServer) -> None:
        self.url = serving(program)
        self.pid = program.process.pid
        self.rest_api = rest_api
        for _ in range(20):
            assert self.post(Operation('{ thread(id: "warm") { id } }', {}, {"warm": Answer(b'{"id": "warm"}')})) == 200
        self.usual = Watch(self.url, self.pid).memory()

    def post(self, operation: Operation) -> int:
        """Send an operation, read the whole response, and return its status."""
        self.rest_api.answers.update({name: answer.content for name, answer in operation.answers.items()})
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request("POST", "/graphql", operation.body, _HEADERS)
            response = connection.getresponse()
            while response.read(1024 * 1024):
                pass
            return response.status

    def notify(self, body: bytes) -> None:
        """Send a webhook."""
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request("POST", "/webhooks/gochat", body, {"authorization": WEBHOOK_AUTHORIZATION})
            assert connection.getresponse().status == 204

    def watch(self, happens: Callable[[], object]) -> tuple[float, float]:
        """Return for how many seconds others were blocked, and how many MB the process took more than usual."""
        with Watch(self.url, self.pid) as watch:
            happens()
        assert watch.probes > 1
        return watch.blocked, watch.memory(peak=True) - self.usual


@pytest.fixture(scope="module", params=["plans", "reference"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bytecode: dict[str, str]
) -> Iterator[Gateway]:
    """A gateway for all tests with this executor. What one of them leaves behind counts for the next."""
    with HostileServer() as rest_api:
        settings = {
            "upstream_url": rest_api.url,
            "upstream_identity": "service",
            "upstream_auth": "basic",
            "upstream_username": "user",
            "upstream_password": "password",
            "upstream_retries": 0,
            "breaker_min_volume": 1_000_000,
            "inbound_auth": "none",
            "webhook_authorization": WEBHOOK_AUTHORIZATION,
            "port": free_port(),
            "incremental": True,
            "plans": request.param == "plans",
            # The reference executor takes seconds for the default. The time of its slices does not depend on that.
            **({} if request.param == "plans" else {"max_response_fields": 20_000}),
        }
        env = {f"GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
        program = Program.start((*MODULE, "serve"), tmp_path_factory.mktemp("gateway"), {**bytecode, **env})
        try:
            yield Gateway(program, rest_api)
        finally:
            program.kill()


def is_nobody_elses_problem(gateway: Gateway, happens: Callable[[], object]) -> None:
    for left in reversed(range(TRIES)):
        blocked, megabytes = gateway.watch(happens)
        assert megabytes < MOST_MEGABYTES, f"after {blocked:.3f} s"
        if blocked < LONGEST_BLOCKED * slowness():
            return
        assert left, f"others waited {blocked:.3f} s"


@pytest.mark.parametrize("gateway", ["plans"], indirect=True)
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_client_without_credentials(gateway: Gateway, kind: str) -> None:
    data = REQUESTS[kind]()
    is_nobody_elses_problem(gateway, lambda: send(gateway.url, data))


@pytest.mark.parametrize("gateway", ["plans"], indirect=True)
@pytest.mark.parametrize("kind", FRAMES)
def test_a_websocket_without_credentials(gateway: Gateway, kind: str) -> None:
    frames = FRAMES[kind]()
    is_nobody_elses_problem(gateway, lambda: send_frames(gateway.url, frames))


@pytest.mark.parametrize("gateway", ["plans"], indirect=True)
@pytest.mark.parametrize("kind", WEBHOOKS)
def test_a_webhook(gateway: Gateway, kind: str) -> None:
    body = WEBHOOKS[kind]()
    is_nobody_elses_problem(gateway, lambda: gateway.notify(body))


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_and_the_answers_of_the_rest_api(gateway: Gateway, kind: str) -> None:
    operation = OPERATIONS[kind]()

    def happens() -> None:
        assert gateway.post(operation) in {200, 400}

    is_nobody_elses_problem(gateway, happens)


def test_a_problem_is_noticed(gateway: Gateway) -> None:
    """The watch measures what it should: the largest response within the limits takes time and memory."""
    operation = OPERATIONS["a long text"]()

    def measured(happens: Callable[[], object]) -> tuple[float, float]:
        before = Watch(gateway.url, gateway.pid).memory() - gateway.usual  # it may fall from one try to the next
        blocked, megabytes = gateway.watch(happens)
        return blocked, megabytes - before

    idle, busy = (
        [measured(happens) for _ in range(10)]  # a probe does not meet each slice of the event loop
        for happens in (lambda: None, lambda: gateway.post(operation))
    )
    assert max(blocked for blocked, _ in busy) > max(blocked for blocked, _ in idle)
    assert max(rise for _, rise in busy) > max(rise for _, rise in idle) + 3  # the body alone takes nearly 4
