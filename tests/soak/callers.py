"""The load: callers who ask all kinds of queries, each with credentials of its own, and look at what they are told.

The sandbox writes into each thread and each customer for whom it was: another name than one's own is another caller's
data.
"""

import asyncio
import base64
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx

from gateway.sandbox import PASSWORD
from tests.soak.world import CALLERS

THREADS = ("th-1", "th-2", "th-3", "th-4", "th-5", *(f"th-{number}" for number in range(100, 130)))
QUERIES = (
    'query { thread(id: "%s") { id tags status } }',
    'query { thread(id: "%s") { tags lastMessage { subject attachments { fileName } } messages { totalCount } } }',
    'query { threads(ids: ["%s", "th-2", "th-100"]) { id tags customers { externalId firstName } } }',
    'query { customer(externalId: "cu-1") { id comment profile { customFields { name } } } thread(id: "%s") { tags } }',
    'query { thread(id: "%s") { ...Rest } } fragment Rest on Thread { id tags createdAt reminder { delay } }',
)
# What a query may come to while the REST API is in trouble.
EXCUSED = {"UPSTREAM_TIMEOUT", "UPSTREAM_UNAVAILABLE", "UPSTREAM_ERROR", "UPSTREAM_INVALID_RESPONSE", "RATE_LIMITED"}
_NAMED = re.compile(r"caller:([\w.@-]+)")
_PAUSE = 0.05  # seconds that a caller thinks at most
_PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and what is wrong with it: an empty ``broken`` means nothing."""

    phase: str
    """The phase in which it was asked for and came, or both where a new one began meanwhile."""
    seconds: float
    codes: tuple[str, ...]
    broken: str = ""
    stale: bool = False
    cut_off: bool = False
    """It had begun when its gateway was killed, or was not begun: nobody can send it, and no proxy repeats a POST."""


class Caller:
    """Asks until told to stop, one query after another. ``knows`` says whether its password is right."""

    def __init__(self, name: str, url: str, seed: int, *, knows: bool = True) -> None:
        self._name = name
        self._url = url
        self._knows = knows
        self._random = random.Random(seed)  # noqa: S311 - so that a run can be repeated
        password = PASSWORD if knows else "wrong"
        self._authorization = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()

    async def ask(self, phase: Callable[[], str], take: Callable[[Answer], bool]) -> None:
        """Ask, and hand each answer to ``take``, until that says no."""
        headers = {"authorization": self._authorization}
        async with httpx.AsyncClient(headers=headers, timeout=_PATIENCE, trust_env=False) as http:
            while True:
                began = phase()
                answer = await self._one(http, began)
                ended = phase()
                # What a phase breaks may meet a request that was sent in the calm before it.
                if not take(answer if began == ended else replace(answer, phase=f"{began}, then {ended}")):
                    return
                await asyncio.sleep(self._random.uniform(0, _PAUSE))

    async def _one(self, http: httpx.AsyncClient, phase: str) -> Answer:
        document = self._random.choice(QUERIES) % self._random.choice(THREADS)
        started = time.perf_counter()
        try:
            response = await http.post(f"{self._url}/graphql", json={"query": document})
        except httpx.HTTPError as exc:
            if "complete message body" in str(exc):
                return Answer(phase, time.perf_counter() - started, (), cut_off=True)
            return Answer(phase, time.perf_counter() - started, (), f"not answered: {type(exc).__name__}")
        seconds = time.perf_counter() - started
        return self._judge(phase, seconds, response)

    def _judge(self, phase: str, seconds: float, response: httpx.Response) -> Answer:
        others = set(_NAMED.findall(response.text)) - ({self._name} if self._knows else set())
        if others:
            return Answer(phase, seconds, (), f"another caller's data: {sorted(others)} told to {self._name}")
        if response.status_code == httpx.codes.BAD_GATEWAY:
            return Answer(phase, seconds, (), cut_off=True)
        if response.status_code != httpx.codes.OK:
            return Answer(phase, seconds, (), f"HTTP {response.status_code}")
        answer = response.json()
        codes = tuple(sorted({each["extensions"]["code"] for each in answer.get("errors", [])}))
        stale = "stale" in answer.get("extensions", {})
        unexcused = set(codes) - (EXCUSED if self._knows else {*EXCUSED, "UNAUTHENTICATED"})
        broken = f"an error without excuse: {sorted(unexcused)}" if unexcused else ""
        if not answer.get("data") and not codes:
            broken = "neither data nor errors"
        if not self._knows and "UNAUTHENTICATED" not in codes and not codes:
            broken = "accepted with a wrong password"
        return Answer(phase, seconds, codes, broken, stale)


def callers(url: str) -> list[Caller]:
    """Return two of each name, and one with a name that is known and a password that is wrong."""
    known = [Caller(name, url, seed) for seed, name in enumerate(CALLERS * 2)]
    return [*known, Caller(CALLERS[0], url, 99, knows=False)]
