"""Two gateways under load for minutes, while all around them fails and recovers: `uv run python -m tests.soak`.

The promises: every request is answered with status 200 and GraphQL, also while a gateway or Redis is killed (but for
what that gateway was working on); nobody is told another caller's data; no error comes while all is well, and none
that blames the gateway at any time; no traceback in a log; memory stays flat. It prints a report; status 1 where a
promise was broken.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.requirements import find_program
from tests.soak.callers import Answer, callers
from tests.soak.phases import PHASES, Phase
from tests.soak.report import Soak
from tests.soak.world import World, running

_MOST_ANSWERS = 500_000
_SAMPLE = 0.5  # seconds between two looks at the memory


class _Run:
    """One soak: the load goes on while the phases go by."""

    def __init__(self, world: World, seconds: float) -> None:
        self.soak = Soak()
        self._world = world
        self._seconds = seconds
        self._phase = PHASES[0].name
        self._over = False

    async def run(self) -> None:
        """Run to the end."""
        asking = [asyncio.create_task(each.ask(self._now, self._take)) for each in callers(self._world.url)]
        watching = asyncio.create_task(self._watch())
        for phase in PHASES:
            await self._pass(phase)
        self._over = True
        await asyncio.gather(*asking, watching)

    async def _pass(self, phase: Phase) -> None:
        if not phase.calm:
            self._phase = phase.name
        # What is done to processes takes its time, and the callers must go on meanwhile.
        await asyncio.to_thread(phase.begin, self._world)
        if phase.calm:
            await asyncio.sleep(min(3.0, self._seconds * 0.04))  # circuits close, stale answers end
            self._phase = phase.name
        await asyncio.sleep(phase.share * self._seconds)

    def _now(self) -> str:
        return self._phase

    def _take(self, answer: Answer) -> bool:
        self.soak.answers.append(answer)
        return not self._over and len(self.soak.answers) < _MOST_ANSWERS

    async def _watch(self) -> None:
        while not self._over:
            memory = self._world.gateways[1].memory()
            self.soak.memory += [] if memory is None else [memory]
            self._world.sandbox.clear()  # its log of calls would be all that grows
            await asyncio.sleep(_SAMPLE)


def soak(minutes: float) -> Soak:
    """Run a soak of that many minutes."""
    with tempfile.TemporaryDirectory(prefix="gochat-gateway-soak-") as folder:
        with running(Path(folder)) as world:
            run = _Run(world, minutes * 60)
            asyncio.run(run.run())
        run.soak.tracebacks = world.tracebacks()
        run.soak.exits = world.exits
    return run.soak


def main() -> int:
    """Print the report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long, from 0.5 up (default: 5)")
    minutes = parser.parse_args().minutes
    if not 0.5 <= minutes <= 24 * 60:
        parser.error("--minutes must be 0.5 or more, and no more than a day")
    if find_program("nginx") is None:
        parser.error("nginx is not installed")
    started = time.monotonic()
    found = soak(minutes)
    broken = found.broken()
    verdict = [f"BROKEN: {line}" for line in broken] or ["every promise was kept"]
    lines = [*found.lines(), *verdict, f"{time.monotonic() - started:.0f} s"]
    print("\n".join(lines))  # noqa: T201 - what it is for
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
