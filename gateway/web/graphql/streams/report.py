"""Reports subscriptions: one log line when each is over, and the metrics of all by transport.

As of any operation, only the name is reported of what a client wrote.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric

from gateway.auth import Viewer
from gateway.execution.documents.cache import digest_of
from gateway.execution.operation import Operation
from gateway.execution.subscriptions import EndReason, Subscription
from gateway.telemetry import log_fields, logger
from gateway.telemetry.metrics import Metrics, counter, gauge
from gateway.web.graphql.operation_log import OperationReporter

EVENTS = "sse"
PARTS = "multipart"
SOCKET = "websocket"


@dataclass(slots=True)
class OpenSubscription:
    """What is counted of a subscription while it is open."""

    results: int = 0
    codes: tuple[str, ...] = ()
    """Those of the errors with which it ended."""


class StreamReporter:
    """Reports subscriptions, and the closes of WebSockets. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        operations: OperationReporter,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._operations = operations
        self._clock = clock
        self._opened: Counter[tuple[str, ...]] = Counter()
        self._ended: Counter[tuple[str, ...]] = Counter()
        self._sockets = 0
        self._closed: Counter[tuple[str, ...]] = Counter()
        if metrics is not None:
            metrics.add(self._metrics)

    @contextmanager
    def open(
        self, subscription: Subscription, request_id: str, viewer: Viewer, transport: str
    ) -> Iterator[OpenSubscription]:
        """Report a subscription that is open inside the ``with``, and closed when it ends."""
        began = self._clock()
        self._opened[(transport,)] += 1
        report = OpenSubscription()
        try:
            yield report
        finally:
            ended = subscription.ended or EndReason.CLIENT
            self._ended[transport, ended] += 1
            execution = subscription.execution
            self._operations.count(execution.type, report.codes)
            if logger.isEnabledFor(logging.INFO):
                fields = {
                    "requestId": request_id,
                    "operation": execution.name,
                    "type": execution.type,
                    "document": execution.document,
                    "caller": viewer.caller,
                    "transport": transport,
                    "ended": ended,
                    "results": report.results,
                    "ms": round((self._clock() - began) * 1000, 1),
                    **({"errors": report.codes} if report.codes else {}),
                }
                log_fields(logging.INFO, "subscription", fields)

    def refused(self, operation: Operation, request_id: str, viewer: Viewer, codes: tuple[str, ...]) -> None:
        """Report a subscription that does not begin."""
        self._operations.count("subscription", codes)
        if logger.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {
                "requestId": request_id,
                "operation": operation.name,
                "type": "subscription",
                "document": digest_of(operation.document),
                "caller": viewer.caller,
                "errors": codes,
            }
            log_fields(logging.INFO, "subscription", fields)

    def socket_opened(self) -> None:
        """Count a WebSocket that was accepted."""
        self._sockets += 1

    def socket_closed(self, code: int) -> None:
        """Count its end, with the code of whichever side closed it first."""
        self._sockets -= 1
        self._closed[(str(code) if code in _CODES else _OTHER,)] += 1

    def _metrics(self) -> Iterator[Metric]:
        opened, ended = self._opened.copy(), self._ended.copy()
        transports = [(EVENTS,), (PARTS,), (SOCKET,)]
        active: dict[tuple[str, ...], float] = {
            (transport,): opened[(transport,)] - sum(n for (of, _), n in ended.items() if of == transport)
            for (transport,) in transports
        }
        yield gauge("subscriptions_active", "Subscriptions that are open, by transport.", ("transport",), active)
        yield counter("subscriptions_opened", "Subscriptions that were opened.", ("transport",), opened, transports)
        yield counter(
            "subscriptions_ended",
            "Subscriptions that ended, by transport and reason.",
            ("transport", "reason"),
            ended,
            [(transport, reason.value) for (transport,) in transports for reason in EndReason],
        )
        yield gauge("websockets_open", "WebSockets that are open.", (), {(): self._sockets})
        codes = [(str(code),) for code in sorted(_CODES)]
        help_text = "WebSockets that were closed, by code."
        yield counter("websocket_closes", help_text, ("code",), self._closed, [*codes, (_OTHER,)])


_OTHER = "other"
_CODES = frozenset(
    {1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1012, 1013, 4400, 4401, 4403, 4406, 4408, 4409, 4429, 4499}
)
