"""Tells of each operation when it is over: a line in the log, and what the metrics count.

Nothing that a client wrote is told but the operation's name, cut short: no document, no variable, no credential.
"""

import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from prometheus_client.core import Metric

from gateway.errors import InternalError
from gateway.execution.documents import DIGEST_LENGTH, digest_of
from gateway.execution.engine import Operation
from gateway.execution.result import Result
from gateway.schema.context import OperationContext
from gateway.telemetry import log_fields, logger
from gateway.telemetry.metrics import Durations, Metrics, counter, gauge
from gateway.upstream.call import Trace
from gateway.web.http_error import HttpError
from gateway.web.persisted import PersistedOperation

DISCONNECTED = "CLIENT_DISCONNECTED"
"""What an operation came to whose client did not wait for the answer."""

_OK = "OK"
_LONGEST_NAME = 100


class OperationReporter:
    """Reports operations. One that took ``slow`` seconds is told at warning, with each of its REST calls."""

    def __init__(self, slow: float, metrics: Metrics | None = None, clock: Callable[[], float] = time.perf_counter):
        self._slow = slow
        self._clock = clock
        self._in_flight = 0
        self._operations: Counter[tuple[str, str]] = Counter()
        self._responses: Counter[int] = Counter()
        self._durations = None if metrics is None else self._register(metrics)

    def _register(self, metrics: Metrics) -> Durations:
        metrics.add(self._metrics)
        return metrics.durations(
            "operation_duration_seconds", "How long operations took, by type and executor.", ("type", "executor")
        )

    async def report(self, operation: Operation, context: OperationContext, work: Awaitable[Result]) -> Result:
        """Return the result of ``work``, which is ``operation``, and tell of it when it is over."""
        started = self._clock()
        codes: tuple[str, ...] | None = (DISCONNECTED,)
        self._in_flight += 1
        try:
            result = await work
            codes = result.codes
            if result.following is not None:
                codes, parts = None, self._parts(operation, context, result.codes, result.following, started)
                return replace(result, following=parts)
        except HttpError:
            codes = None  # HTTP refuses it: see `refused`
            self._in_flight -= 1
            raise
        except Exception:
            codes = (InternalError.code,)
            raise
        finally:
            if codes is not None:
                self._over(operation, context, codes, started)
        return result
