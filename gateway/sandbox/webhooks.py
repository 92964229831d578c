"""The webhooks of the sandbox: what the vendor posts when something changes, and what goes wrong on the way.

change ─▶ event ─▶ held until `reorder` events wait ─▶ in reverse order, each after `delay` ─▶ posted `copies` times
"""

import heapq
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Annotated, Any, Final, Literal, NamedTuple

import httpx
import msgspec

Source = Literal["system", "api", "web"]

_TIMEOUT_SECONDS: Final = 5.0
_MOST_REMEMBERED: Final = 1000


class Target(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where webhooks go, and how; ``delay`` is in seconds.

    ``copies`` is how often each event is posted: 2 doubles it, 0 loses it. With a ``reorder`` of n, n events wait for
    each other and are posted the last first.
    """

    url: str
    authorization: str
    copies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    delay: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    reorder: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential."""
        return f"Target({self.url})"

    def __post_init__(self) -> None:
        """Raise ValueError for an address that cannot be posted to."""
        if httpx.URL(self.url).scheme not in {"http", "https"}:
            raise ValueError(f"the url must begin with http:// or https://, and is {self.url!r}")


class Posted(NamedTuple):
    """One post of an event, as it is without a fault. ``status`` is None where there was no answer."""

    event: dict[str, Any]
    status: int | None


class _Due(NamedTuple):
    at: float
    order: int
    event: dict[str, Any]
    content: bytes
    target: Target


class Webhooks:
    """Posts events in a thread of their own, which runs while there is a target. Nothing is posted without one.

    ``changed`` returns what is posted for the body of an event.
    """

    def __init__(self, clock: Callable[[], float], changed: Callable[[bytes], bytes]) -> None:
        self._clock = clock
        self._changed = changed
        self._lock = threading.Condition()
        self._target: Target | None = None
        self._ids = count(1)
        self._order = count()
        self._held: list[dict[str, Any]] = []
        self._due: list[_Due] = []
        self._posted: list[Posted] = []
        self._under_way = 0
        self._thread: threading.Thread | None = None

    @property
    def target(self) -> Target | None:
        """Where webhooks go now; None: nowhere."""
        return self._target

    @property
    def posted(self) -> list[Posted]:
        """The latest posts, oldest first."""
        with self._lock:
            return list(self._posted)

    @property
    def waiting(self) -> int:
        """How many posts are held, delayed or under way."""
        with self._lock:
            return len(self._held) + self._under_way

    def send_to(self, target: Target | None) -> None:
        """Send webhooks there from now on. What is held for another target is sent to that one now."""
        with self._lock:
            if self._target is not None:
                self._release(self._target)
            self._target = target
            if target is not None and self._thread is None:
                self._thread = threading.Thread(target=self._post_all, name="webhooks", daemon=True)
                self._thread.start()

    def thread_changed(self, ident: str, source: Source) -> None:
        """Tell that a thread was changed or added."""
        self._tell("thread_updated", source, {"client_id": 1, "threads": [{"thread_id": ident}]})

    def message_added(self, thread_id: str, ident: str, source: Source) -> None:
        """Tell that a message is in its thread."""
        data = {"client_id": 1, "messages": [{"thread_id": thread_id, "message_id": ident}]}
        self._tell("thread_message_updated", source, data)

    def customer_changed(self, ident: str | None, external_id: str, source: Source) -> None:
        """Tell that a customer was changed or added."""
        data = {"client_id": 1, "customers": [{"customer_id": ident, "external_id": external_id}]}
        self._tell("customers_updated", source, data)

    def _tell(self, code: str, source: Source, data: dict[str, Any]) -> None:
        with self._lock:
            if self._target is None:
                return
            self._held.append(
                {
                    "event_id": str(next(self._ids)),
                    "event_code": code,
                    "event_date": datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "event_source": source,
                    "data": data,
                }
            )
            if len(self._held) >= self._target.reorder:
                self._release(self._target)

    def _release(self, target: Target) -> None:
        held, self._held = self._held[::-1], []
        for event in held * target.copies:
            self._under_way += 1
            due = _Due(
                time.monotonic() + target.delay,
                next(self._order),
                event,
                self._changed(msgspec.json.encode(event)),
                target,
            )
            heapq.heappush(self._due, due)
        self._lock.notify()

    def _post_all(self) -> None:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            while True:
                self._post(client, self._next())

    def _next(self) -> _Due:
        """Return the next post, when it is time for it."""
        with self._lock:
            while True:
                wait = self._due[0].at - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)
                self._lock.wait(wait)

    def _post(self, client: httpx.Client, due: _Due) -> None:
        headers = {"authorization": due.target.authorization, "content-type": "application/json"}
        try:
            status: int | None = client.post(due.target.url, content=due.content, headers=headers).status_code
        except httpx.HTTPError:
            status = None
        with self._lock:
            self._under_way -= 1
            self._posted = [*self._posted[1 - _MOST_REMEMBERED :], Posted(due.event, status)]
