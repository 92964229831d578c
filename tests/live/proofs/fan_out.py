"""Measures one webhook on its way to many subscribers of one thread and one selection, on one worker.

With the gateway's own account the thread is read once; in passthrough once for each credential, a few at a time. The
time of a delivery runs from just before the webhook is sent until its bytes are in this process, which is the client of
all subscribers and runs the REST API as well.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import quantiles

import httpx

from gateway.sandbox import PASSWORD, Accounts, BackgroundServer, Fault, Sandbox, sandbox_config
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.live.proofs.gateways import SECRET, basic, gateway, processor_time, url_of, webhook_body
from tests.live.proofs.streams import Stream, Watch, any_result, watch
from tests.programs import Program, Start

SUBSCRIPTION = 'subscription { threadUpdated(id: "t") { id status tags lastMessage { content } } }'
OPEN_AT_ONCE = 50
SETTLE_SECONDS = 1.0
"""After those who subscribed during a read, the thread is read once more."""
READ_SECONDS = 0.02
MOST_READS = 16
"""How many of a worker's reads for subscriptions may run at the same time: half of all REST calls."""


@dataclass(slots=True)
class Report:
    """What was seen; times in seconds."""

    subscribers: int
    credentials: int
    stalled: int = 0
    """How many of the subscribers take nothing."""
    size: int = 0
    """How many bytes a result has more than it needs."""
    deliveries: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    """REST calls by event."""
    at_once: int = 0
    """The most REST calls at the same time."""
    processor_time: float = 0.0
    """Of the worker, by event."""
    others: list[str] = field(default_factory=list)
    """Results that are another caller's."""

    @property
    def p99(self) -> float:
        """The time that one delivery in a hundred exceeds."""
        return quantiles(self.deliveries, n=100)[98]

    def broken(self) -> list[str]:
        """Return what was not as promised. Times are only shown: they belong to the machine."""
        expected = max(1, self.credentials)
        wrong = [f"an event made {each} REST calls instead of {expected}" for each in self.calls if each != expected]
        if self.at_once > MOST_READS:
            wrong.append(f"{self.at_once} REST calls at the same time are more than {MOST_READS}")
        return [*wrong, *self.others[:5]]

    def __str__(self) -> str:
        shown = quantiles(self.deliveries, n=100)
        stalled = f", of whom {self.stalled} take nothing" if self.stalled else ""
        who = f"{self.credentials} credentials" if self.credentials else "the gateway's own account"
        p50, p99, most = (1000 * each for each in (shown[49], shown[98], max(self.deliveries)))
        return (
            f"{self.subscribers} subscribers{stalled}, {who}, {len(self.calls)} events: from the webhook to a delivery "
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {most:.0f} ms; REST calls per event "
            f"{sorted(set(self.calls))}, at most {self.at_once} at the same time; processor time of the worker "
            f"{self.processor_time * 1000:.0f} ms per event"
        )


def measure(
    subscribers: int, credentials: int, events: int, begin: Start, *, stalled: int = 0, size: int = 0
) -> Report:
    """Send that many events to that many subscribers, some of whom take nothing.

    With 0 ``credentials`` all use the gateway's account. What a system keeps for a connection on its own is a few
    hundred KB: a client that takes nothing is noticed after that, by ``size`` more bytes in each result.
    """
    users = [f"caller-{number}@sandbox.example" for number in range(credentials)]
    sandbox = Sandbox(accounts=Accounts(dict.fromkeys(users, PASSWORD)), echo_caller=bool(users))
    if users:  # otherwise a read would end before the next one begins
        sandbox.faults.add(Fault("thread", delay=READ_SECONDS))
    chosen = {"upstream_identity": "passthrough"} if users else dict(SERVICE)
    chosen |= {"max_subscriptions_per_caller": str(subscribers), "resync_interval": "3600", "heartbeat": "60"}
    chosen["upstream_max_concurrency"] = str(2 * MOST_READS)
    with ExitStack() as stack:
        chosen["upstream_url"] = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        program = stack.enter_context(gateway(begin, chosen))
        measurement = _Measurement(
            sandbox, program, url_of(program), users, Report(subscribers, credentials, stalled, size)
        )
        return asyncio.run(measurement.run(events))


class _Measurement:
    def __init__(self, sandbox: Sandbox, program: Program, url: str, users: Sequence[str], report: Report) -> None:
        self._sandbox = sandbox
        self._program = program
        self._url = url
        self._users = users or (None,)
        self._report = report
        self._sockets: list[tuple[str | None, Stream]] = []
        self._stalled: list[tuple[str | None, Stream]] = []

    async def run(self, events: int) -> Report:
        """Send the events, one after another."""
        self._sandbox.store.put_thread({"id": "t", "status": 0})
        await self._open()
        await asyncio.sleep(SETTLE_SECONDS)
        self._stalled = [self._sockets.pop() for _ in range(self._report.stalled)]
        for _, each in self._stalled:
            each.stall()
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            began = processor_time(self._program)
            for number in range(1, events + 1):
                await self._send(http, number)
            self._report.processor_time = (processor_time(self._program) - began) / events
        for _, each in (*self._sockets, *self._stalled):
            each.hang_up()
        return self._report

    async def _open(self) -> None:
        for begin in range(0, self._report.subscribers, OPEN_AT_ONCE):
            for number in range(begin, min(begin + OPEN_AT_ONCE, self._report.subscribers)):
                user = self._users[number % len(self._users)]
                watched = Watch(SUBSCRIPTION, None, user and basic(user))
                self._sockets.append((user, await watch(self._url, watched)))
            await asyncio.gather(*(each.until(any_result) for _, each in self._sockets[begin:]))

    async def _send(self, http: httpx.AsyncClient, number: int) -> None:
        message = {"content": "x" * self._report.size}
        self._sandbox.store.put_thread({"id": "t", "status": number, "last_message": message})
        self._sandbox.clear()
        expected = f'"status":{number},'.encode()
        waiting = [asyncio.create_task(each.until(lambda result: expected in result)) for _, each in self._sockets]
        await asyncio.sleep(0)  # until all wait
        began = time.monotonic()
        body = webhook_body("t", number)
        response = await http.post(f"{self._url}/webhooks/gochat", json=body, headers={"authorization": SECRET})
        assert response.status_code == 204, response.text
        report = self._report
        report.deliveries += [arrived - began for arrived in await asyncio.gather(*waiting)]
        report.calls.append(self._sandbox.count("thread"))
        report.at_once = max(report.at_once, self._sandbox.max_concurrent)
        for user, each in self._sockets:
            if user is not None and f'"caller:{user}"'.encode() not in each.payload:
                report.others.append(f"{user} got {each.payload!r}")
