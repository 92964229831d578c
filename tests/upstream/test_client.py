"""The REST client: every failure of a call becomes one of our errors, in every mode."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.auth import Viewer
from gateway.errors import GatewayError, InternalError, RateLimited
from gateway.http1 import (
    CallFailed,
    ConnectionBroken,
    ConnectTimedOut,
    InvalidResponse,
    ReadTimedOut,
    Response,
    ResponseTooLarge,
    StrayResponse,
)
from gateway.sandbox import Sandbox
from gateway.telemetry import Counts
from gateway.telemetry.metrics import Metrics
from gateway.upstream.call import ResponseOrigin, RestRequest
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import CREATE_CHAT_TOKEN, THREAD
from gateway.upstream.transports.instrumentation import MetricsInstrumentation
from tests.harness import SERVICE, build_client, build_upstream, rest_response, settings, with_account
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


class Answering:
    """A REST API that answers every call with the same response, or fails it in the same way."""

    def __init__(self, answer: Response | Exception) -> None:
        self.answer = answer

    async def send(self, _request: RestRequest) -> Response:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        pass


async def test_a_response_that_cannot_be_read_ends_the_call() -> None:
    odd = Response(None, {}, b"")  # type: ignore[arg-type]  # nothing else is known that the reading does not expect
    with pytest.raises(TypeError):
        await asyncio.wait_for(ask(UpstreamClient(Answering(odd))), 5)


@pytest.mark.parametrize("answer", [rest_response(), TimeoutError()], ids=["response", "failure"])
async def test_a_call_that_is_given_up_as_its_answer_comes_is_cancelled(answer: Response | Exception) -> None:
    comes = asyncio.get_running_loop().create_future()

    class Waiting(Answering):
        async def send(self, request: RestRequest) -> Response:
            await comes
            return await super().send(request)

    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
    result = UpstreamClient(Waiting(answer)).get(call, THREAD, "th-1")
    await asyncio.sleep(0)
    comes.set_result(None)
    result.cancel()  # in the same turn of the event loop
    await asyncio.sleep(0)
    gc.collect()  # a task says that its exception was not retrieved when it is collected
    assert [report.outcome for report in call.reports] == ["cancelled"]
    assert not problems


@pytest.mark.parametrize("failure", [*_failures(), TimeoutError()], ids=lambda each: type(each).__name__)
async def test_every_failure_of_a_call_becomes_a_gateway_error(failure: Exception) -> None:
    with pytest.raises(GatewayError) as caught:
        await ask(UpstreamClient(Answering(failure)))
    assert (caught.value.code == "UPSTREAM_TIMEOUT") is isinstance(
        failure, (ConnectTimedOut, ReadTimedOut, TimeoutError)
    )
    is_wrong = isinstance(failure, (InvalidResponse, ResponseTooLarge))
    assert (caught.value.code == "UPSTREAM_INVALID_RESPONSE") is is_wrong


@pytest.mark.parametrize(
    "failure", [*_failures(), RateLimited(), InternalError()], ids=lambda each: type(each).__name__
)
async def test_a_failed_request_is_measured_by_the_code_that_its_client_gets(failure: Exception) -> None:
    metrics = Metrics()
    durations = metrics.durations("of_calls_seconds", "Durations of calls.", ("route", "outcome"))
    with pytest.raises(GatewayError) as caught:
        await ask(UpstreamClient(MetricsInstrumentation(Answering(failure), durations)))
    (measured,) = durations.collect()
    assert {each.labels["outcome"] for each in measured.samples} == {caught.value.code}


async def test_a_page_of_messages_is_asked_for_by_offset_and_limit(upstream: str, sandbox: Sandbox) -> None:
    async with build_client(settings(upstream_url=upstream, **SERVICE)) as client:
        call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
        assert await client.messages(call, "th-1", 40, 7)
    assert sandbox.calls[-1].query == "offset=40&limit=7"


async def test_a_write_goes_out_on_a_new_connection(upstream: str) -> None:
    """On a kept one that the server gives up at this moment, nobody would know whether it arrived."""
    built = build_upstream(settings(upstream_url=upstream, **SERVICE))
    async with built.client:
        call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
        await built.client.thread(call, "th-1")
        opened, idle = built.pool.state().opened, built.pool.state().idle
        assert idle > 0
        assert (await built.client.post(call, CREATE_CHAT_TOKEN, "", b"{}")).status == 200
        assert built.pool.state().opened == opened + 1


async def test_a_call_tells_its_caller_and_its_time() -> None:
    """Callers share the REST API fairly by their names."""
    sent: list[RestRequest] = []

    class Noting(Answering):
        async def send(self, request: RestRequest) -> Response:
            sent.append(request)
            return rest_response()

    client = UpstreamClient(Noting(TimeoutError()))
    deadline = asyncio.get_running_loop().time() + 60
    call = CallContext(Viewer("Bearer a", "somebody"), deadline, timeout=7, fresh=True)
    await client.thread(call, "th-1")
    await client.post(call, CREATE_CHAT_TOKEN, "", b"{}")
    assert [(each.method, each.caller, each.call.deadline, each.call.timeout) for each in sent] == [
        ("GET", "somebody", deadline, 7),
        ("POST", "somebody", deadline, 7),
    ]
    assert sent[0].fresh


async def test_an_answer_from_memory_is_counted_and_reported(upstream: str) -> None:
    counts = Counts()
    async with build_client(settings(upstream_url=upstream, cache_url="memory://", **SERVICE), counts) as client:
        call = CallContext(Viewer(None), asyncio.get_running_loop().time() + 60)
        await client.thread(call, "th-1")
        found = client.cached(call, THREAD, "th-1")
        assert found is not None
        client.keep(call, b'"name"', "made", 4, [found])
        assert [client.made(call, b'"name"') for _ in range(2)] == ["made", "made"]
        fresh = CallContext(Viewer(None), call.deadline, fresh=True)
        assert client.cached(fresh, THREAD, "th-1") is client.made(fresh, b'"name"') is None
        assert client.calls[THREAD.template, ResponseOrigin.CACHED, "200"] == 2
        assert counts["cache_cached"] == 2
        fetched, *answered = call.reports
        assert [(each.origin, each.status, each.started >= fetched.started) for each in answered] == [
            (ResponseOrigin.CACHED, 200, True)
        ] * 2


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
