"""Examines responses of the REST API while the gateway runs, and reports what differs from the contract.

    response ─▶ one in a hundred, or unusual ─▶ its operation is over ─▶ 250 ms later: examined ─▶ metric, log line

By then the operation's answer was sent. An examination takes a bounded time, and so does everything that is waiting
for one: what exceeds it is dropped, because the next response shows the same.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prometheus_client.core import Metric

from gateway.telemetry import log_fields
from gateway.telemetry.metrics import Labels, counter
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.contract import ROUTES, TOKEN, Route
from gateway.upstream.drift.comparison import WEBHOOK, Absences, Comparison, Drift, DriftKind, Known, Sample, list_of
from gateway.upstream.drift.strict import StrictDecoders

_MOST_BYTES = 512 * 1024
_BYTES_PER_MILLISECOND = 64 * 1024
_ENOUGH_RESPONSES = 100
_MOST_LINES = 200
_MOST_WAITING = 20
_SECONDS_AFTER_THE_OPERATION = 0.25
_NOT_FOUND = 404


class DriftSampling:
    """Examines one response in ``one_in`` of each route, and each that is unusual. ``clock`` is in seconds.

    ``enough`` is the number of responses after which a field that none of them had is missing.
    """

    def __init__(
        self,
        one_in: int,
        known: Known,
        *,
        enough: int = _ENOUGH_RESPONSES,
        delay: float = _SECONDS_AFTER_THE_OPERATION,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.counts: Counter[Labels] = Counter()
        """How many responses had a kind of difference, by the route's template and the kind."""
        self._one_in = one_in
        self._known = known
        self._delay = delay
        self._clock = clock
        self._strict = StrictDecoders(known)
        self._absences = Absences(enough)
        self._searched_for_absences = 2 * enough  # what only some responses have needs more of them
        self._examined: Counter[Route] = Counter()
        self._passed: dict[Route, int] = defaultdict(int)
        self._logged: set[tuple[str, str, str, int | None]] = set()
        self._waiting = 0

    def wants(self, route: Route, status: int, origin: ResponseOrigin) -> bool:
        """Count a response of a route, and return whether it is to be examined when its operation is over."""
        if origin is not ResponseOrigin.FETCHED:
            return False
        passed = self._passed[route] = self._passed[route] + 1
        return passed % self._one_in == 0 or (status != route.status and status != _NOT_FOUND)  # noqa: PLR1714 - a tuple would be built for each response

    def examine(self, samples: Sequence[Sample]) -> None:
        """Examine the samples of an operation that is over, soon."""
        for sample in {id(each.body): each for each in samples}.values():
            if self._waiting < _MOST_WAITING and len(sample.body) <= _MOST_BYTES:
                self._waiting += 1
                asyncio.get_running_loop().call_later(self._delay, partial(self._examine_next, sample))

    def record(self, drift: Drift) -> None:
        """Count a difference, and log it if it is the first of its route, kind and path."""
        route = ROUTES[drift.route].template if drift.route in ROUTES else drift.route
        self.counts[route, drift.kind.value] += 1
        line = drift.route, drift.kind.value, drift.path, drift.status
        if line in self._logged or len(self._logged) >= _MOST_LINES:
            return
        self._logged.add(line)
        fields = {"kind": drift.kind.value, "route": route, **_details(drift)}
        log_fields(logging.WARNING, "the REST API differs from its contract", fields)

    def _examine_next(self, sample: Sample) -> None:
        self._waiting -= 1
        for drift in self._differences(sample):
            self.record(drift)

    def _may_lack_fields(self, sample: Sample) -> bool:
        """Return whether to look which fields are missing: in the first small responses of a route."""
        self._examined[sample.route] += 1
        is_small = len(sample.body) <= _BYTES_PER_MILLISECOND
        return is_small and self._examined[sample.route] <= self._searched_for_absences

    def _differences(self, sample: Sample) -> list[Drift]:
        self._strict.prepare(sample.route)
        until = self._clock() + (1 + len(sample.body) // _BYTES_PER_MILLISECOND) / 1000
        if self._strict.accept(sample) and not self._may_lack_fields(sample):
            return []
        comparison = Comparison(sample, self._known)
        is_whole = comparison.advance(lambda: self._clock() >= until)
        return [*comparison.drifts, *(self._absences.add(comparison) if is_whole else ())]


def _details(drift: Drift) -> dict[str, object]:
    details = {
        "path": drift.path,
        "expected": drift.expected,
        "came": drift.came,
        "status": drift.status,
        "value": drift.value,
    }
    return {name: value for name, value in details.items() if value is not None}


def drift_metrics(sampling: DriftSampling) -> Iterator[Metric]:
    """Yield how many examined responses differed from the contract. They are read at each scrape."""
    yield counter(
        "upstream_drift",
        "Examined responses and webhooks of the REST API that differ from its contract, by kind.",
        ("route", "kind"),
        sampling.counts.copy(),
        list(_series()),
    )


def _series() -> Iterator[Labels]:
    """Yield the series that exist from the start; logins are not examined."""
    for route in ROUTES.values():
        for kind in DriftKind:
            of_pages = kind is DriftKind.PAGINATION and list_of(route) is None
            if route is not TOKEN and kind is not DriftKind.WEBHOOK_SHAPE and not of_pages:
                yield route.template, kind.value
    yield WEBHOOK, DriftKind.WEBHOOK_SHAPE.value
