"""The log of calls: who called, with what, and how the call ended. Any thread may read it."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `status` is None until there is a response, and stays None when the connection was dropped."""

    route: str
    method: str
    path: str
    """Percent-encoded, as it was sent."""
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    started: float
    """Seconds, by the sandbox's clock."""
    username: str | None = None
    """The owner of the request's credential, accepted or not; None for a credential the sandbox does not know."""
    status: int | None = None
    body: bytes = b""
    cancelled: bool = False
    """Whether the client disconnected before the whole response was sent."""


class Calls:
    """The last `keep` calls, oldest first, and the number of calls of each route."""

    def __init__(self, *, keep: int = 10_000) -> None:
        self._changed = threading.Condition()
        self._keep = keep
        self._tickets = count()
        self._log: dict[int, Call] = {}
        self._counts: Counter[str] = Counter()
        self._in_flight: set[int] = set()
        self._max_concurrent = 0

    def arrive(self, call: Call) -> int:
        """Record a request before it is processed; returns a ticket to amend and finish it with."""
        with self._changed:
            ticket = next(self._tickets)
            self._log[ticket] = call
            if len(self._log) > self._keep:
                del self._log[next(iter(self._log))]
            self._counts[call.route] += 1
            self._in_flight.add(ticket)
            self._max_concurrent = max(self._max_concurrent, len(self._in_flight))
            self._changed.notify_all()
        return ticket

    def amend(self, ticket: int, *, body: bytes, username: str | None) -> None:
        """Add what is known only after the body has been read."""
        with self._changed:
            if (call := self._log.get(ticket)) is not None:
                self._log[ticket] = replace(call, body=body, username=call.username or username)

    def finish(self, ticket: int, *, status: int | None = None, cancelled: bool = False) -> None:
        """Record how a call ended; only the first end of a call counts."""
        with self._changed:
            if ticket not in self._in_flight:
                return
            self._in_flight.discard(ticket)
            if (call := self._log.get(ticket)) is not None:
                self._log[ticket] = replace(call, status=status, cancelled=cancelled)
            self._changed.notify_all()

    def entries(self, route: str | None = None) -> list[Call]:
        """Return the calls so far, in order of arrival, including those without a response yet."""
        with self._changed:
            return [call for call in self._log.values() if route in (None, call.route)]

    def count(self, route: str | None = None) -> int:
        """Return how many calls have arrived, of one route or of all."""
        with self._changed:
            return self._counts.total() if route is None else self._counts[route]

    @property
    def in_flight(self) -> int:
        """How many calls have no response yet."""
        with self._changed:
            return len(self._in_flight)

    @property
    def max_concurrent(self) -> int:
        """The highest number of calls that were in flight at the same time."""
        with self._changed:
            return self._max_concurrent

    def clear(self) -> None:
        """Forget all calls. Those in flight continue, but are not logged."""
        with self._changed:
            self._log.clear()
            self._counts.clear()
            self._max_concurrent = len(self._in_flight)

    def wait_for(self, n: int, route: str | None = None, timeout: float = 5.0) -> None:
        """Block this thread until `n` calls have arrived.

        Raises `TimeoutError`: fewer have arrived after `timeout` seconds; the message says how many.
        """
        self._wait(lambda: self.count(route) >= n, f"{n} calls of {route or 'any route'}", timeout)

    def wait_until_idle(self, timeout: float = 5.0) -> None:
        """Block this thread until no call is in flight.

        Raises `TimeoutError`: some still are after `timeout` seconds.
        """
        self._wait(lambda: not self._in_flight, "no call in flight", timeout)

    def _wait(self, done: Callable[[], bool], wanted: str, timeout: float) -> None:
        with self._changed:  # a Condition's lock is re-entrant: `done` may take it again
            if not self._changed.wait_for(done, timeout):
                seen = f"arrived: {dict(self._counts)}, in flight: {len(self._in_flight)}"
                raise TimeoutError(f"waited {timeout} s for {wanted}; {seen}")
