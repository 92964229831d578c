"""Minutes of subscriptions while everything around them goes wrong, and what must hold all the same.

Two gateways with two workers each share a Redis. Webhooks are lost, doubled, delayed and reordered. Clients stall, hang
up and connect again. The workers of one gateway are rolled or killed, and its Redis is restarted. Then all becomes
quiet, with the last webhooks lost: every client has to end at the last state, and when the clients have left, nothing
of them may be left in the gateways. The other gateway is left alone, and its memory has to stay flat.
"""

import asyncio
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import httpx

from gateway.sandbox import PASSWORD, Accounts, BackgroundServer, Sandbox, Target, sandbox_config
from tests.harness import NO_CERTIFICATES
from tests.live.proofs.gateways import SECRET, basic, gateway, memory, url_of
from tests.live.proofs.streams import LOST, EventStream, SocketStream, Stream, Watch, any_result, connected
from tests.programs import Program, Start, free_port, workers
from tests.upstream.redis_server import RedisServer

CALLERS = tuple(f"caller-{number}@sandbox.example" for number in range(1, 6))
THREADS = tuple(f"t{number}" for number in range(12))
CLIENTS = 40
QUERY = "subscription ($id: ID!) { threadUpdated(id: $id) { id status tags } }"
RESYNC_SECONDS = 5.0
CHANGE_SECONDS = 0.1  # on average between two changes
HEARTBEAT_SECONDS = 3.0
MOST_STALL_SECONDS = 15.0
LEAVE_SECONDS = 60.0
"""The time for the gateways to notice that all clients are gone."""
MOST_GROWTH_MIB = 12.0
_SETTINGS = {
    "upstream_identity": "passthrough",
    "cache_secret": "sixteen or more letters",
    "cache_ttl_thread": "600",
    "resync_interval": str(RESYNC_SECONDS),
    "heartbeat": str(HEARTBEAT_SECONDS),
    "subscription_max_lifetime": "20",
    "shutdown_delay": "1",
    "workers": "2",
}
_ORDINARY = {LOST, 1005, 1012, 4499}
_NAMED = re.compile(rb"caller:([\w.@-]+)")
_STATE = re.compile(rb'"id":"(t\d+)","status":(\d+)')


@dataclass(slots=True)
class Report:
    """What was seen."""

    seconds: float
    changes: int = 0
    results: int = 0
    opened: int = 0
    closes: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    """What was done to the webhooks, clients, workers and Redis."""
    memory: list[float] = field(default_factory=list)
    """Of both workers of the gateway that was left alone, at even distances, in MiB."""
    slowest_end: float = 0.0
    broken: list[str] = field(default_factory=list)

    def growth(self) -> float:
        """Return by how much the memory's median of the last fifth is above that of the third: past warming up."""
        fifth = len(self.memory) // 5
        return median(self.memory[-fifth:]) - median(self.memory[2 * fifth : 3 * fifth]) if fifth else 0.0

    def __str__(self) -> str:
        troubles = ", ".join(f"{what} {count}" for what, count in sorted(self.troubles.items()))
        return (
            f"{self.seconds:.0f} s, {self.changes} changes, {self.opened} subscriptions opened, "
            f"{self.results} results; closed with {dict(sorted(self.closes.items()))}\n{troubles}\n"
            f"the slowest client was at its last state {self.slowest_end:.1f} s after the last change; memory "
            f"{self.memory[0]:.0f} MiB at first, {max(self.memory):.0f} at most, {self.memory[-1]:.0f} at last, "
            f"growth {self.growth():+.1f}"
        )


def soak(minutes: float, begin: Start, seed: int = 1) -> Report:
    """Run for that long; the same seed draws the same troubles."""
    sandbox = Sandbox(accounts=Accounts(dict.fromkeys(CALLERS, PASSWORD)), echo_caller=True)
    for ident in THREADS:
        sandbox.store.put_thread({"id": ident, "status": 0})
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        redis = stack.enter_context(RedisServer())
        places = []
        for _ in range(2):
            port = free_port()
            chosen = {**_SETTINGS, "upstream_url": upstream, "cache_url": redis.url, "metrics_port": str(port)}
            places.append((stack.enter_context(gateway(begin, chosen)), port))
        gateways = [Gateway(program, url_of(program), port) for program, port in places]
        report = asyncio.run(_run(sandbox, redis, gateways, random.Random(seed), minutes * 60))  # noqa: S311 - repeatable
        sandbox.webhooks.send_to(None)
    for each in gateways:
        report.broken += [f"in a log: {line[:300]}" for line in each.program.err.rest().splitlines() if _is_bug(line)]
    return report


async def _run(
    sandbox: Sandbox, redis: RedisServer, gateways: "list[Gateway]", draw: random.Random, seconds: float
) -> Report:
    return await _Soak(sandbox, redis, gateways, draw, Report(seconds)).run()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    program: Program
    url: str
    metrics_port: int

    async def left(self) -> dict[str, float]:
        """Return what its metrics still count as open."""
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            text = (await http.get(f"http://127.0.0.1:{self.metrics_port}/metrics")).text
        found = re.findall(
            r"^gochat_gateway_((?:subscriptions_active|websockets_open)\S*) ([\d.]+)$", text, re.MULTILINE
        )
        assert found, "the metrics are not there"
        return {name: float(value) for name, value in found if float(value)}


def _is_bug(line: str) -> bool:
    # A worker is killed, which may be the one that is to replace another.
    was_caused = re.search(r'"message":"(worker \d+ died|a new worker did not start)', line)
    return "Traceback" in line or ('"level":"error"' in line and not was_caused)


class _Client:
    """Subscribes again and again, and looks at what it gets."""

    def __init__(self, number: int, soak: "_Soak") -> None:
        self.caller = CALLERS[number % len(CALLERS)]
        self.thread = THREADS[number % len(THREADS)]
        self._soak = soak
        self._kind = EventStream if number % 4 == 0 else SocketStream
        self._last = -1
        self.stream: Stream | None = None

    async def live(self) -> None:
        """Subscribe and be troublesome until the soak calms down."""
        while not self._soak.is_calm:
            await self.subscribe()
            await self._behave()

    async def subscribe(self) -> None:
        """Subscribe at any of the gateways; one that is being rolled may refuse."""
        watched = Watch(QUERY, {"id": self.thread}, basic(self.caller))
        url = self._soak.random.choice(self._soak.gateways).url
        self._last = -1
        self.stream = self._kind(url, watched, self._take)
        self._soak.report.opened += 1
        try:
            await connected(url, self.stream)
            await self.stream.until(any_result)
        except ConnectionError:
            self._close(self.stream)
            await asyncio.sleep(0.2)
        except TimeoutError:
            self._soak.broke(f"{self.thread} of {self.caller}: no first result")

    async def _behave(self) -> None:
        draw, stream = self._soak.random, self.stream
        assert stream is not None
        what = draw.choices(("hang up", "stall", "listen"), (2, 1, 4))[0]
        if what == "stall":
            self._soak.trouble("client stalls")
            stream.stall()
            await self._soak.sleep(draw.uniform(0, MOST_STALL_SECONDS))
            stream.go_on()
        else:
            await self._soak.sleep(draw.uniform(0, 10), stream.closed)
        if what == "hang up":
            self._soak.trouble("client hangs up")
            stream.hang_up()
            await stream.closed
        if stream.closed.done():
            self._close(stream)
        elif not self._soak.is_calm:
            stream.hang_up()

    def _close(self, stream: Stream) -> None:
        code = stream.closed.result() if stream.closed.done() else LOST
        self._soak.report.closes[code] += 1
        if code not in _ORDINARY:
            self._soak.broke(f"closed with {code}: {stream.problem!r}")

    def _take(self, result: bytes) -> None:
        """Look at a result."""
        self._soak.report.results += 1
        names = {name.decode() for name in _NAMED.findall(result)}
        state = _STATE.search(result)
        if names != {self.caller} or state is None or state[1].decode() != self.thread:
            self._soak.broke(f"{self.thread} of {self.caller} got {result[:200]!r}")
            return
        if int(state[2]) < self._last:
            self._soak.broke(f"{self.thread} went back from {self._last} to {int(state[2])}")
        self._last = int(state[2])

    async def end(self, status: int) -> float:
        """Wait until the last state is there, after subscribing again where necessary; return when it came."""
        expected = f'"status":{status},'.encode()
        while True:
            if self.stream is None or self.stream.closed.done():
                await self.subscribe()
            assert self.stream is not None
            self.stream.go_on()
            try:
                return await self.stream.until(lambda result: expected in result)
            except ConnectionError:
                continue
            except TimeoutError:
                self._soak.broke(f"{self.thread} of {self.caller} ended at {self._last} instead of {status}")
                return time.monotonic()


class _Soak:
    def __init__(
        self, sandbox: Sandbox, redis: RedisServer, gateways: list[Gateway], draw: random.Random, report: Report
    ) -> None:
        self.gateways = gateways
        self.random = draw
        self.report = report
        self._calm: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._sandbox = sandbox
        self._redis = redis
        self._statuses = dict.fromkeys(THREADS, 0)

    @property
    def is_calm(self) -> bool:
        """Whether the troubles are over."""
        return self._calm.done()

    def trouble(self, what: str) -> None:
        """Count a trouble."""
        self.report.troubles[what] += 1

    def broke(self, what: str) -> None:
        """Note a promise that was broken."""
        if len(self.report.broken) < 20:
            self.report.broken.append(what)

    async def run(self) -> Report:
        """Run to the end."""
        clients = [_Client(number, self) for number in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for work in (self._change, self._disturb_webhooks, self._disturb_processes, self._watch_memory):
                group.create_task(work())
            for each in clients:
                group.create_task(each.live())
            await asyncio.sleep(self.report.seconds)
            self._calm.set_result(0)
        await self._end(clients)
        return self.report

    async def _change(self) -> None:
        while not self.is_calm:
            self._change_one(self.random.choice(THREADS))
            await asyncio.sleep(self.random.uniform(0, 2 * CHANGE_SECONDS))

    def _change_one(self, ident: str) -> None:
        self._statuses[ident] += 1
        self._sandbox.store.change_thread(ident, {"status": self._statuses[ident]})
        self.report.changes += 1

    async def _disturb_webhooks(self) -> None:
        draw = self.random
        while not self.is_calm:
            copies, reorder, delay = draw.choice((0, 1, 1, 2)), draw.choice((1, 1, 3)), draw.choice((0.0, 0.0, 1.0))
            target = Target(f"{draw.choice(self.gateways).url}/webhooks/gochat", SECRET, copies, delay, reorder)
            self._sandbox.webhooks.send_to(target)
            named = {"lost": copies == 0, "doubled": copies == 2, "reordered": reorder > 1, "delayed": delay > 0}
            for name, is_so in named.items():
                if is_so:
                    self.trouble(f"webhooks {name}")
            await asyncio.sleep(draw.uniform(0, 2))

    async def _disturb_processes(self) -> None:
        """Roll the workers of the first gateway, kill one of them, restart Redis: one of these at a time."""
        program = self.gateways[0].program
        deeds: dict[str, Callable[[], object]] = {
            "workers rolled": lambda: os.kill(program.process.pid, signal.SIGHUP),
            "worker killed": lambda: os.kill(self.random.choice(sorted(workers(program))), signal.SIGKILL),
            "Redis restarted": self._restart_redis,
        }
        pause = min(15.0, self.report.seconds / 4)
        while True:
            for what, deed in deeds.items():
                await self.sleep(pause)
                if self.is_calm:
                    return
                self.trouble(what)
                await asyncio.to_thread(deed)

    def _restart_redis(self) -> None:
        self._redis.kill()
        self._redis.start()

    async def sleep(self, seconds: float, closed: "asyncio.Future[int] | None" = None) -> None:
        """Wait, at most until all is calm, or until a connection is closed."""
        waiting = [self._calm] if closed is None else [self._calm, closed]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _watch_memory(self) -> None:
        while not self.is_calm:
            self.report.memory.append(memory(self.gateways[1].program))
            self._sandbox.clear()  # its log of calls would be all that grows
            await self.sleep(0.5)

    async def _end(self, clients: list[_Client]) -> None:
        """Change each thread once more without a webhook, wait for the last states, and leave."""
        self._sandbox.webhooks.send_to(Target(self.gateways[0].url, SECRET, copies=0))
        for ident in THREADS:
            self._change_one(ident)
        changed = time.monotonic()
        ends = await asyncio.gather(*(each.end(self._statuses[each.thread]) for each in clients))
        self.report.slowest_end = max(0.0, max(ends) - changed)
        for each in clients:
            if each.stream is not None:
                each.stream.hang_up()
        await asyncio.gather(*(self._require_empty(each) for each in self.gateways))
        if self.report.growth() > MOST_GROWTH_MIB:
            self.broke(f"memory grew by {self.report.growth():.1f} MiB")

    async def _require_empty(self, gateway: Gateway) -> None:
        until = time.monotonic() + LEAVE_SECONDS
        while left := await gateway.left():
            if time.monotonic() > until:
                self.broke(f"left behind: {left}")
                return
            await asyncio.sleep(0.2)
