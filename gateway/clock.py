"""Clocks, sleep and randomness as parameters, so that tests do not wait."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RANDOM = random.Random()  # noqa: S311 - it spreads load, chooses samples and numbers requests: it protects no secret
"""Random numbers of the gateway's own: code that seeds Python's shared generator does not make them predictable."""
os.register_at_fork(after_in_child=RANDOM.seed)  # two processes give their requests different ids


def _up_to(most: float) -> float:
    return RANDOM.uniform(0, most)


@dataclass(frozen=True, slots=True)
class Timing:
    """``clock`` is monotonic, ``now`` the wall clock, both in seconds.

    ``jitter`` returns a random number from 0 to its argument.
    """

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    jitter: Callable[[float], float] = _up_to


REAL_TIME = Timing()
