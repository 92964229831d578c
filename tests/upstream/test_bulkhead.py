"""The bulkhead: a bounded number of calls, a bounded queue, and a clear error beyond."""

import asyncio

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.http1 import Response
from gateway.sandbox import Fault, Sandbox
from gateway.upstream.call import RestRequest
from gateway.upstream.transports.bulkhead import Bulkhead, MovingAverage
from tests.harness import StartGateway, rest_request, rest_response


class Gate:
    """An upstream that answers once ``opened`` is set."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.most = 0
        self.opened = asyncio.Event()

    async def send(self, _request: RestRequest) -> Response:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.opened.wait()
        finally:
            self.in_flight -= 1
        return rest_response()

    async def aclose(self) -> None:
        pass


def send(bulkhead: Bulkhead) -> asyncio.Task[Response]:
    return asyncio.create_task(bulkhead.send(rest_request()))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_calls_beyond_the_queue_fail_at_once_and_the_others_succeed() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=2, queue=3)
    calls = [send(bulkhead) for _ in range(8)]
    await settled()
    refused = [task for task in calls if task.done()]
    assert len(refused) == 3
    for task in refused:
        with pytest.raises(UpstreamUnavailable) as caught:
            task.result()
        assert caught.value.retry_after == 1
        assert str(caught.value) == "Too many calls wait for the REST API already."
    assert bulkhead.shed == 3
    gate.opened.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Response) for answer in answers) == 5
    assert gate.most == 2


async def test_a_cancelled_waiting_call_frees_its_place_in_the_queue() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=1, queue=1)
    served, waiting = send(bulkhead), send(bulkhead)
    await settled()
    waiting.cancel()
    await settled()
    instead = send(bulkhead)
    await settled()
    assert not instead.done()
    gate.opened.set()
    assert (await served).status == (await instead).status == 200


async def test_a_cancelled_call_releases_its_slot() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=1, queue=0)
    for _ in range(3):
        call = send(bulkhead)
        await settled()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    gate.opened.set()
    assert (await send(bulkhead)).status == 200


def test_a_full_queue_is_an_error_at_its_field_only(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_max_concurrency=1, upstream_max_queue=2, operation_timeout=2)
    gateway.data('{ thread(id: "th-1") { id } }')
    sandbox.faults.add(Fault("thread", "th-100", times=1, delay=0.05))
    answer = gateway.query('{ threads(ids: ["th-100", "th-101", "th-102", "th-103", "th-104"]) { id } }')
    assert [thread and thread["id"] for thread in answer["data"]["threads"]] == [
        "th-100",
        "th-101",
        "th-102",
        None,
        None,
    ]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"UPSTREAM_UNAVAILABLE"}


def test_the_average_of_durations_that_differ_says_how_long_nearly_all_take() -> None:
    average = MovingAverage()
    assert (average.mean(0), average.most(0)) == (0, 0)
    for number in range(200):
        average.add(1.0 + 2 * (number % 2), number / 10)
    assert average.mean(20) == pytest.approx(2, abs=0.1)
    assert average.most(20) == pytest.approx(4, abs=0.2)
    assert (average.mean(31), average.most(31)) == (0, 0), "what nothing recent says"
    average.add(5.0, 31)
    assert (average.mean(31), average.most(31)) == (5, 5)
