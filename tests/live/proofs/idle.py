"""Measures the memory of idle subscriptions, each on a WebSocket of its own, on one worker."""

import asyncio
import resource
import time
from contextlib import ExitStack
from dataclasses import dataclass

from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from tests.harness import SERVICE
from tests.live.proofs.gateways import gateway, memory, processor_time, url_of
from tests.live.proofs.streams import SocketStream, Watch, any_result, watch
from tests.programs import Program, Start

SUBSCRIPTION = "subscription ($id: ID!) { threadUpdated(id: $id) { id status lastMessage { content } } }"
OPEN_AT_ONCE = 50
FILES_OF_A_PROCESS = 200
"""File descriptors that a process needs beside its sockets."""


@dataclass(slots=True)
class Report:
    """What was seen; memory in MiB."""

    sockets: int
    threads: int
    before: float = 0.0
    after: float = 0.0
    later: float = 0.0
    """After two heartbeats."""
    busy: float = 0.0
    """The share of a core that the worker uses for the heartbeats."""
    again: int = 0
    """Sockets that were closed before their first result, and opened again."""
    lost: int = 0
    """Sockets that were closed meanwhile."""

    def __str__(self) -> str:
        each = (self.later - self.before) * 1024 / self.sockets
        return (
            f"{self.sockets} idle WebSockets with a subscription each, of {self.threads} threads: "
            f"{self.before:.0f} MiB without them, {self.after:.0f} MiB with them, {self.later:.0f} MiB two heartbeats "
            f"later, {each:.1f} KiB for each; heartbeats take {self.busy:.0%} of a core; {self.again} had to "
            f"connect again at first, and {self.lost} were lost later"
        )


def most_sockets() -> int:
    """Return how many sockets the limit of open files allows a process, after raising it as far as it may be."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - FILES_OF_A_PROCESS


def measure(sockets: int, threads: int, begin: Start, *, heartbeat: float = 12.0) -> Report:
    """Open that many sockets, whose subscriptions watch so many threads; ``heartbeat`` is in seconds."""
    sandbox = Sandbox()
    chosen = {**SERVICE, "max_subscriptions_per_caller": str(sockets), "heartbeat": str(heartbeat)}
    chosen |= {"max_subscriptions": str(sockets), "subscription_max_lifetime": "86400"}
    with ExitStack() as stack:
        chosen["upstream_url"] = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        program = stack.enter_context(gateway(begin, chosen))
        url = url_of(program)
        for number in range(threads):
            sandbox.store.put_thread({"id": f"t{number}", "status": "Open"})
        return asyncio.run(_measure(program, url, Report(sockets, threads), heartbeat))


async def _open(url: str, name: str, report: Report) -> SocketStream:
    """Return a socket with its first result. On a busy machine one may take too long to begin, and tries again."""
    while True:
        opened = await watch(url, Watch(SUBSCRIPTION, {"id": name}))
        try:
            await opened.until(any_result)
        except ConnectionError:
            report.again += 1
        else:
            return opened


async def _measure(program: Program, url: str, report: Report, heartbeat: float) -> Report:
    # The first subscription loads what all of them use.
    first = await watch(url, Watch(SUBSCRIPTION, {"id": "t0"}))
    await first.until(any_result)
    first.hang_up()
    report.before = memory(program)
    opened: list[SocketStream] = []
    while len(opened) < report.sockets:
        count = min(OPEN_AT_ONCE, report.sockets - len(opened))
        names = [f"t{(len(opened) + number) % report.threads}" for number in range(count)]
        opened += await asyncio.gather(*(_open(url, name, report) for name in names))
    report.after = memory(program)
    began, used = time.monotonic(), processor_time(program)
    await asyncio.sleep(2 * heartbeat)
    report.busy = (processor_time(program) - used) / (time.monotonic() - began)
    report.later = memory(program)
    report.lost = sum(each.closed.done() for each in opened)
    for each in opened:
        each.hang_up()
    return report
