"""``POST /api/v1/thread/{id}``: changes a thread, and finds out by reading whether a change arrived."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from gateway.errors import GatewayError
from gateway.http1 import Response
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import UPDATE_THREAD
from gateway.upstream.writes.attachments import Content
from gateway.upstream.writes.outcome import Answer, Bodies, Outcome
from gateway.upstream.writes.write import Mutation, Reading

_MAX_STATUSES = 100


class _Thread(msgspec.Struct):
    """What a thread shows of an update. Values of any type: an unexpected one equals nothing that was asked for."""

    id: Any = None
    customers: Any = None
    reminder: Any = None
    status: Any = None
    tags: Any = None


class StatusReadings:
    """How the status that was written reads back: the REST API does not say it, so answered updates teach it."""

    def __init__(self) -> None:
        self._readings: dict[int, str | int | None] = {}

    def learn(self, written: object, read: object) -> None:
        """Note one pair. A status that reads back in two ways is never compared."""
        if not isinstance(written, int) or not isinstance(read, (str, int)) or isinstance(read, bool):
            return
        if written in self._readings:
            if self._readings[written] != read:
                self._readings[written] = None
        elif len(self._readings) < _MAX_STATUSES:
            self._readings[written] = read

    def reading(self, written: int) -> str | int | None:
        """Return how a status reads back, None where that is not known."""
        return self._readings.get(written)


_Same: TypeAlias = Callable[[set[str], set[str]], bool]


@dataclass(frozen=True, slots=True)
class ThreadUpdate:
    """One update; ``body`` is the request's, by REST names."""

    thread_id: str
    body: Mapping[str, Any] = field(repr=False)
    content: Content = field(repr=False)
    statuses: StatusReadings = field(default_factory=StatusReadings)
    mutation: Mutation = "updateThread"

    async def look_before(self, client: UpstreamClient, call: CallContext) -> bytes | None:
        """Return the thread from the cache or else from the REST API; None where it cannot be compared anyway."""
        if not self._is_comparable():
            return None
        reading = msgspec.structs.replace(call, reports=[])
        try:
            body = await client.thread(reading, self.thread_id)
        except GatewayError:
            return None
        finally:
            call.reports.extend(reading.reports)
        is_stale = any(report.origin is ResponseOrigin.STALE for report in reading.reports)
        return None if is_stale else body

    async def send(self, client: UpstreamClient, call: CallContext) -> Response:
        """Send it."""
        return await client.post(call, UPDATE_THREAD, self.thread_id, self.content)

    def settled(self, response: Response) -> Answer | None:
        """Return APPLIED for a 200 with a thread."""
        thread = _decoded(response.body) if response.status == UPDATE_THREAD.status else None
        if thread is None or thread.id is None:
            return None
        self.statuses.learn(self.body.get("status"), thread.status)
        return Answer(Outcome.APPLIED, thread_id=self.thread_id, bodies=Bodies(response.body))

    async def read_back(self, reading: Reading, before: bytes | None) -> Answer:
        """Return APPLIED if the thread has what was asked for, and had not before; else UNKNOWN, with the thread."""
        latest: bytes | None = None

        async def look() -> bool:
            nonlocal latest
            try:
                latest = await reading.client.thread(reading.call, self.thread_id) or latest
            except GatewayError:
                return False
            return self._shows(before, latest)

        # A thread that cannot be compared is read once, to be shown.
        applied = await (reading.twice(look) if before is not None else look())
        outcome = Outcome.APPLIED if applied else Outcome.UNKNOWN
        return Answer(outcome, thread_id=None if latest is None else self.thread_id, bodies=Bodies(latest))

    def _is_comparable(self) -> bool:
        """Whether everything that is asked for can be read: a comment cannot."""
        if not self.body or "comment" in self.body:
            return False
        return "status" not in self.body or self.statuses.reading(self.body["status"]) is not None

    def _shows(self, before: bytes | None, after: bytes | None) -> bool:
        earlier, later = _decoded(before), _decoded(after)
        if earlier is None or later is None or not self._is_comparable():
            return False
        # Whether a list replaces the old one or is added to it is not documented.
        return any(self._holds(later, same) and not self._holds(earlier, same) for same in (_equal, _contains))

    def _holds(self, thread: _Thread, same: _Same) -> bool:
        return all(self._field_holds(name, value, thread, same) for name, value in self.body.items())

    def _field_holds(self, name: str, value: Any, thread: _Thread, same: _Same) -> bool:
        match name:
            case "status":
                return bool(thread.status == self.statuses.reading(value))
            case "reminder":
                present = thread.reminder if isinstance(thread.reminder, dict) else {}
                return all(present.get(key) == part for key, part in value.items())
            case "tag_codes":
                return same(set(value), _texts(thread.tags))
            case "customer_ids":
                return same(set(value), _customers(thread, "id"))
            case "customer_external_ids":
                return same(set(value), _customers(thread, "external_id"))
        return False


def _equal(asked: set[str], present: set[str]) -> bool:
    return asked == present


def _contains(asked: set[str], present: set[str]) -> bool:
    return asked <= present


def _texts(values: Any) -> set[str]:
    return {str(each) for each in values if isinstance(each, (str, int))} if isinstance(values, list) else set()


def _customers(thread: _Thread, key: str) -> set[str]:
    customers = thread.customers if isinstance(thread.customers, list) else []
    return _texts([each.get(key) for each in customers if isinstance(each, dict)])


def _decoded(body: bytes | None) -> _Thread | None:
    try:
        return None if body is None else msgspec.json.decode(body, type=_Thread)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
