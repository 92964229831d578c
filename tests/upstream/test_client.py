"""The REST client: every failure of a call becomes one of our errors, in every mode."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.auth import Viewer
from gateway.errors import GatewayError, InternalError, RateLimited
from gateway.http1 import (
    CallFailed,
    ConnectionBroken,
    ConnectTimedOut,
    ReadTimedOut,
    Response,
    ResponseTooLarge,
    StrayResponse,
)
from gateway.sandbox import Sandbox
from gateway.telemetry.metrics import Metrics
from gateway.upstream.call import RestRequest
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.transports.instrumentation import MetricsInstrumentation
from tests.harness import SERVICE, build_client, build_upstream, settings, with_account
from tests.upstream.logins import ask


def _failures(kind: type[CallFailed] = CallFailed) -> Iterator[CallFailed]:
    if issubclass(kind, StrayResponse):
        yield kind()
    elif issubclass(kind, ConnectionBroken):
        yield kind("m", request_sent=True, response_begun=False)
    elif issubclass(kind, ResponseTooLarge):
        yield kind(1)
    else:
        yield kind("m")
    for each in kind.__subclasses__():
        yield from _failures(each)


class Failing:
    """A REST API of which every call fails."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def send(self, _request: RestRequest) -> Response:
        raise self.failure

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("failure", [*_failures(), TimeoutError()], ids=lambda each: type(each).__name__)
async def test_every_failure_of_a_call_becomes_a_gateway_error(failure: Exception) -> None:
    with pytest.raises(GatewayError) as caught:
        await ask(UpstreamClient(Failing(failure)))
    assert (caught.value.code == "UPSTREAM_TIMEOUT") is isinstance(
        failure, (ConnectTimedOut, ReadTimedOut, TimeoutError)
    )


@pytest.mark.parametrize(
    "failure", [*_failures(), RateLimited(), InternalError()], ids=lambda each: type(each).__name__
)
async def test_a_failed_request_is_measured_by_the_code_that_its_client_gets(failure: Exception) -> None:
    metrics = Metrics()
    durations = metrics.durations("of_calls_seconds", "Durations of calls.", ("route", "outcome"))
    with pytest.raises(GatewayError) as caught:
        await ask(UpstreamClient(MetricsInstrumentation(Failing(failure), durations)))
    (measured,) = durations.collect()
    assert {each.labels["outcome"] for each in measured.samples} == {caught.value.code}


async def test_a_page_of_messages_is_asked_for_by_offset_and_limit(upstream: str, sandbox: Sandbox) -> None:
    async with build_client(settings(upstream_url=upstream, **SERVICE)) as client:
        call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
        assert await client.messages(call, "th-1", 40, 7)
    assert sandbox.calls[-1].query == "offset=40&limit=7"


def test_clients_are_built_for_every_mode() -> None:
    for overrides in ({"upstream_identity": "passthrough"}, {"upstream_auth": "basic"}, {"upstream_auth": "token"}):
        assert isinstance(build_client(settings(**with_account(**overrides))), UpstreamClient)


@pytest.mark.parametrize("auth", ["token", "basic"])
async def test_a_client_that_is_closed_closes_its_connections(upstream: str, auth: str) -> None:
    chosen = settings(**{**SERVICE, "upstream_url": upstream, "upstream_auth": auth, "cache_url": "memory://"})
    durations = Metrics().durations("of_calls_seconds", "Durations of calls.", ("route", "outcome"))
    built = build_upstream(chosen, instrumentation=[lambda following: MetricsInstrumentation(following, durations)])
    assert await ask(built.client) is not None
    assert built.pool.state().open > 0
    await built.client.aclose()
    assert built.pool.state().open == 0
