"""Sends mutations while responses get lost, clients hang up and workers are stopped, and compares answers with effects.

The promises: no write is sent twice; what is APPLIED took effect, once; what is NOT_APPLIED, or a top-level error, took
none; UNKNOWN is said only of a write whose answer was lost, and that no read showed.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.sandbox import Fault
from tests.harness import NO_CERTIFICATES
from tests.programs import until
from tests.storm.recorder import Recorder
from tests.storm.world import World, running

_CALLERS = 24
_SECONDS_BETWEEN_SIGTERMS = 4.0
_LATE = 1.5
_MOST_NEEDLESS = 0.01
"""On a busy machine the time of a call is over before the gateway comes to read its answer."""

DOCUMENTS = {
    "updateThread": "mutation M($input: UpdateThreadInput!) { updateThread(input: $input) { outcome } }",
    "createMessage": "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { outcome } }",
    "createChatToken": "mutation M($input: CreateChatTokenInput!) { createChatToken(input: $input) { outcome } }",
}
_ROUTES = {"updateThread": "update_thread", "createMessage": "message", "createChatToken": "chat_token"}
_LOSSES: list[dict[str, Any]] = [
    {"drop": "before"},
    {"drop": "before", "carry_out": True},
    {"drop": "before", "late": _LATE},
    {"drop": "mid-body"},
    {"delay": 1.5},
    {"delay": 1.5, "carry_out": True},
    {"status": 500},
    {"status": 502, "carry_out": True},
    {"status": 503, "late": _LATE},
    {"status": 504, "carry_out": True},
    {"body": "<html>", "carry_out": True},
]
_ANSWERS: list[dict[str, Any]] = [
    {"status": 429, "headers": {"retry-after": "0"}},
    {"status": 422},
    {"status": 409},
    {"status": 403},
]

_ANSWERED = "although its answer came in time"
_SHOWN = "although a read showed it in time"
_TOKEN = "and a token cannot be read"
_NOT_SHOWN = "and no read showed it in time"
_NOT_LOOKED = "and the thread was not read before"
_REASONS = (_TOKEN, _NOT_SHOWN, _NOT_LOOKED, _ANSWERED, _SHOWN)


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told of one write: an outcome, ERROR and a code for a top-level error, LOST for no answer."""

    mark: int
    mutation: str
    keyed: bool
    outcome: str


@dataclass(slots=True)
class Report:
    """What a storm found."""

    count: int
    seconds: float = 0.0
    told: list[Told] = field(default_factory=list)
    sent_twice: int = 0
    false: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    """Why UNKNOWN was said, by what the gateway could know."""
    sigterms: int = 0
    tracebacks: list[str] = field(default_factory=list)
    effects: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """By outcome, and whether the write took effect, the number of writes."""

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.sent_twice or self.false or self.tracebacks or self.needless > self.count * _MOST_NEEDLESS)

    @property
    def needless(self) -> int:
        """How often UNKNOWN was said although the gateway could know the outcome."""
        return self.unknown[_ANSWERED] + self.unknown[_SHOWN]

    def __str__(self) -> str:
        outcomes = Counter(each.outcome for each in self.told)
        lines = [f"{self.count} mutations in {self.seconds:.0f} s, {self.sigterms} workers stopped"]
        lines += [f"  {name:<30} {number:>6}  {number / self.count:6.1%}" for name, number in outcomes.most_common()]
        for name in DOCUMENTS:
            of_one = Counter(each.outcome for each in self.told if each.mutation == name)
            lines.append(f"  {name}: {dict(of_one)}")
        keyed = sum(each.keyed for each in self.told)
        lines.append(f"  with a key: {keyed}, without: {self.count - keyed}")
        lines.append(
            f"  UNKNOWN that took effect: {self.effects['UNKNOWN', True]}, did not: {self.effects['UNKNOWN', False]}"
        )
        lines += [
            f"  UNKNOWN {why:<36} {self.unknown[why]:>6}  {self.unknown[why] / self.count:6.1%}" for why in _REASONS
        ]
        lines.append(
            f"sent twice: {self.sent_twice}, false answers: {len(self.false)}, needless UNKNOWN: {self.needless},"
            f" tracebacks: {len(self.tracebacks)}"
        )
        return "\n".join([*lines, *self.false[:10], *self.tracebacks[:3]])


def storm(folder: Path, count: int, seed: int) -> Report:
    """Send ``count`` mutations, and return what was found."""
    report = Report(count)
    with running(folder, count) as world:
        began = time.monotonic()
        over = threading.Event()
        stopping = threading.Thread(target=_stop_workers, args=(world, report, over))
        stopping.start()
        try:
            report.told = asyncio.run(_send_all(world, count, seed))
        finally:
            over.set()
            stopping.join()
        report.seconds = time.monotonic() - began
        world.sandbox.faults.clear()
        late = time.monotonic() + _LATE + 1
        until(lambda: time.monotonic() > late and not world.sandbox.in_flight, "the last write has come")
        world.sandbox.store.empty_outbox()
        _compare(world, report)
        report.tracebacks = world.tracebacks()
    return report


def _stop_workers(world: World, report: Report, over: threading.Event) -> None:
    while not over.wait(_SECONDS_BETWEEN_SIGTERMS):
        if world.started() >= 2 + report.sigterms:  # else the last one is not replaced yet
            world.stop_a_worker()
            report.sigterms += 1


async def _send_all(world: World, count: int, seed: int) -> list[Told]:
    marks = iter(range(count))
    told: list[Told] = []
    limits = httpx.Limits(max_connections=_CALLERS * 2, max_keepalive_connections=0)
    options: dict[str, Any] = {"base_url": world.url, "trust_env": False, "verify": NO_CERTIFICATES, "limits": limits}
    async with httpx.AsyncClient(**options) as client:

        async def call() -> None:
            for mark in marks:
                draw = random.Random(f"{seed} {mark}")  # noqa: S311 - no secret
                told.append(await _Writer(world, client, mark, draw).run())

        await asyncio.gather(*(call() for _ in range(_CALLERS)))
    return told


class _Writer:
    """One write of one client."""

    def __init__(self, world: World, client: httpx.AsyncClient, mark: int, draw: random.Random) -> None:
        self._world = world
        self._client = client
        self._mark = mark
        self._draw = draw
        self._mutation = draw.choice(["updateThread", "createMessage", "createMessage", "createChatToken"])
        self._keyed = draw.random() < 0.5

    async def run(self) -> Told:
        self._add_faults()
        hangs_up = self._draw.random() < 0.1
        outcome = await self._post(self._draw.uniform(0.005, 0.3) if hangs_up else 40)
        tries = 0
        while outcome == "LOST" and self._keyed and tries < 5:  # with a key, the client may ask again
            tries += 1
            outcome = await self._post(40)
            if outcome.startswith("ERROR"):  # it says something of this request only, not of the one before
                outcome = "LOST"
        return Told(self._mark, self._mutation, self._keyed, outcome)

    def _add_faults(self) -> None:
        """Let the next write of the route, which may be another client's, meet a fault."""
        faults = self._world.sandbox.faults
        if self._draw.random() < 0.4:
            faults.add(Fault(_ROUTES[self._mutation], times=1, **self._draw.choice(_LOSSES)))
        elif self._draw.random() < 0.1:
            faults.add(Fault(_ROUTES[self._mutation], times=1, **self._draw.choice(_ANSWERS)))
        if self._draw.random() < 0.1:
            faults.add(Fault(self._draw.choice(["thread", "messages"]), times=1, **self._draw.choice(_LOSSES[6:9])))
        self._world.sandbox.store.outbox_delay = self._draw.choice([0, 0, 0, 0.3, 3])

    async def _post(self, patience: float) -> str:
        body = {"query": DOCUMENTS[self._mutation], "variables": {"input": self._input()}}
        try:
            async with asyncio.timeout(patience):
                response = await self._client.post("/graphql", json=body, timeout=60)
            answer = response.json()
        except (httpx.TransportError, TimeoutError):
            return "LOST"
        payload = (answer.get("data") or {}).get(self._mutation)
        if payload is None:
            return f"ERROR {answer['errors'][0]['extensions']['code']}"
        return str(payload["outcome"])

    def _input(self) -> dict[str, Any]:
        mark, thread = f"mark-{self._mark}", f"storm-{self._mark}"
        key = {"idempotencyKey": mark} if self._keyed else {}
        match self._mutation:
            case "updateThread":
                return {"id": thread, "tagCodes": [mark], **key}
            case "createMessage":
                return {"threadId": thread, "content": mark, **key}
        return {"externalId": mark, **key}


def _compare(world: World, report: Report) -> None:
    report.sent_twice = sum(number > 1 for number in world.recorder.arrived.values())
    for told in report.told:
        if world.recorder.arrived[told.mark] > 1:
            report.false.append(f"{told}: it arrived {world.recorder.arrived[told.mark]} times")
        if told.mutation == "createChatToken":
            effects = world.recorder.arrived[told.mark]  # a token leaves no trace
            is_true = told.outcome != "APPLIED" or effects == 1
        else:
            effects = world.effects(told.mark)
            is_true = effects <= 1 and _is_true(told.outcome, effects)
        report.effects[told.outcome, effects > 0] += 1
        if not is_true:
            report.false.append(f"{told}: it took effect {effects} times")
        if told.outcome == "UNKNOWN":
            report.unknown[_why_unknown(told, world.recorder)] += 1


def _why_unknown(told: Told, recorder: Recorder) -> str:
    """Return why the gateway could not know what became of a write, or that it could."""
    if told.mark in recorder.settled:
        return _ANSWERED
    if told.mark in recorder.shown and (told.mutation == "createMessage" or told.mark in recorder.looked):
        return _SHOWN
    if told.mutation == "createChatToken":
        return _TOKEN
    if told.mark in recorder.shown:
        return _NOT_LOOKED
    return _NOT_SHOWN


def _is_true(outcome: str, effects: int) -> bool:
    if outcome == "APPLIED":
        return effects == 1
    return effects == 0 or not (outcome == "NOT_APPLIED" or outcome.startswith("ERROR"))
