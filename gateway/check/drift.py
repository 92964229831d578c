"""Searches for drift with a few GETs: compares each response with the contract, and learns what is not documented."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from gateway.auth import Viewer
from gateway.check.finding import Finding, Level
from gateway.errors import GatewayError
from gateway.http1 import Response
from gateway.schema.resolvers.enumerations import load_enumerations
from gateway.settings import Settings, UpstreamIdentity
from gateway.storage.shared import Shared, shared_by
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import CUSTOMER, ENUMERATIONS, MESSAGES, THREAD, TOKEN, Read
from gateway.upstream.drift.comparison import (
    Absences,
    Comparison,
    Drift,
    Known,
    Sample,
    harmless,
    known_values,
    name_or_other,
    webhook_drift,
)
from gateway.upstream.drift.report import Learned, Report, build_report
from gateway.upstream.drift.shapes import type_of
from gateway.upstream.stack import build_upstream
from gateway.web.webhook.endpoint import UnknownEvents

_NO_THREAD = "gochat-gateway-check"
_MOST_CUSTOMERS = 3
_LARGE_LIMIT = 1000
_PAGES: tuple[Mapping[str, int], ...] = (
    {},
    {"offset": 0, "limit": 2},
    {"offset": 2, "limit": 20},
    {"offset": 0, "limit": _LARGE_LIMIT},
)
_RATE = re.compile(r"rate-?limit|retry-after|quota", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\w/+.;=, -]{1,60}", re.ASCII)
_NEVER = 2**62
_NO_PAGE = "unknown: no page of messages was read"


class DriftRequest(NamedTuple):
    """What to search for drift with: the id of a thread, where to write the report, and an earlier one."""

    thread_id: str
    report: Path | None = None
    baseline: Path | None = None


Exchange: TypeAlias = tuple[RestRequest, Response]


class _Recorder:
    """Wraps a transport, and keeps every response with its request: also those of logins and of retries."""

    def __init__(self, following: Transport, exchanges: list[Exchange]) -> None:
        self._following = following
        self._exchanges = exchanges

    async def send(self, request: RestRequest) -> Response:
        response = await self._following.send(request)
        self._exchanges.append((request, response))
        return response

    async def aclose(self) -> None:
        await self._following.aclose()


async def search_drift(settings: Settings, request: DriftRequest, baseline: Report | None) -> list[Finding]:
    """Return the differences as findings: those that the baseline does not have are failures. Write the report."""
    subject = f"drift of {request.thread_id}"
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        text = "cannot be searched in passthrough mode. Set GATEWAY_UPSTREAM_IDENTITY to `service`, with an account."
        return [Finding(Level.FAIL, subject, text)]
    shared = shared_by(settings.cache)
    try:
        exchanges, unanswered = await _exchanges(settings, request.thread_id, shared)
        events = await _unknown_events(settings, shared)
    finally:
        await shared.aclose()
    if not any(asked.route is THREAD for asked, _ in exchanges):
        return [Finding(Level.FAIL, subject, "no response could be compared.", "See what the other findings say.")]
    report = _compare(exchanges, _known(settings, baseline), events)
    has_thread = any(asked.route is THREAD and each.status == THREAD.status for asked, each in exchanges)
    return [
        *unanswered,
        *_differences(report, baseline),
        *_written(report, request),
        *_summary(report, baseline, subject, has_thread),
    ]


async def _exchanges(settings: Settings, thread_id: str, shared: Shared) -> tuple[list[Exchange], list[Finding]]:
    """Return the responses with their requests, and the reads that had none."""
    exchanges: list[Exchange] = []
    upstream = settings.upstream.model_copy(update={"retries": 0})
    cache = settings.cache.model_copy(update={"url": None})
    record = [lambda following: _Recorder(following, exchanges)]
    async with build_upstream(upstream, cache, shared, record).client as client:
        reader = _Reader(client, settings.upstream.operation_timeout)
        await reader.read_everything(thread_id)
    return exchanges, reader.unanswered


class _Reader:
    """Reads with the client. A read has at most ``seconds``; ``unanswered`` are findings of those without response."""

    def __init__(self, client: UpstreamClient, seconds: float) -> None:
        self.unanswered: list[Finding] = []
        self._client = client
        self._seconds = seconds

    async def read_everything(self, thread_id: str) -> None:
        """Read a thread, its messages in several ways, its customers, and a thread that does not exist."""
        body = await self._read(THREAD, thread_id)
        for page in _PAGES:
            await self._read(MESSAGES, thread_id, page)
        for external_id in _external_ids(body):
            await self._read(CUSTOMER, external_id)
        await self._read(THREAD, _NO_THREAD)

    async def _read(self, route: Read, ident: str, page: Mapping[str, int] = _PAGES[0]) -> bytes | None:
        """Return the body; None for a failure."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            return await self._client.get(CallContext(Viewer(None), deadline, fresh=True), route, ident, page)
        except GatewayError as exc:
            if exc.upstream is None:
                text = f"a read of {route.name} has no response that could be compared: {exc.message}"
                self.unanswered.append(Finding(Level.FAIL, "drift", text))
            return None


def _external_ids(thread: bytes | None) -> list[str]:
    customers = _decoded(thread or b"").get("customers")
    items = customers if isinstance(customers, list) else []
    idents = [each.get("external_id") for each in items if isinstance(each, dict)]
    return list(dict.fromkeys(each for each in idents if isinstance(each, str) and each))[:_MOST_CUSTOMERS]


async def _unknown_events(settings: Settings, shared: Shared) -> list[Drift]:
    """Return the events that the gateways at the same Redis did not understand."""
    if settings.live.webhook_authorization is None:
        return []
    kept = await UnknownEvents(shared).kept()
    return [webhook_drift(code, shape) for code, shape in kept or ()]


def _known(settings: Settings, baseline: Report | None) -> Known:
    """Return the values of enumerations that GATEWAY_ENUMS names, and those that the baseline has learned."""
    values: dict[str, list[str | int]] = defaultdict(list)
    for name, named in load_enumerations(settings.graphql.enums).values.items():
        values[name] += named
    for name, learned in ({} if baseline is None else baseline.learned.enumerations).items():
        values[name] += learned
    return known_values(values)


def _compare(exchanges: Iterable[Exchange], known: Known, events: Iterable[Drift]) -> Report:
    responses, absences, learning = Counter[str](), Absences(_NEVER), _Learning()
    drifts: list[Drift] = []
    for request, response in exchanges:
        # Whether so many are returned is learned: it is no difference.
        target = request.target.partition("?")[0] if f"limit={_LARGE_LIMIT}" in request.target else request.target
        comparison = Comparison(Sample(request.route, target, response.status, response.body), known)
        comparison.advance()
        absences.add(comparison)
        drifts += comparison.drifts
        responses[request.route.name] += 1
        learning.add(request, response, comparison)
    return build_report(responses, [*drifts, *absences.so_far(), *events], learning.learned())


class _Learning:
    """Collects what the contract calls unknown."""

    def __init__(self) -> None:
        self._values: dict[str, set[str | int]] = defaultdict(set)
        self._fields: dict[str, str] = {}
        self._token: dict[str, str] = {}
        self._encodings: set[str] = set()
        self._rate_headers: set[str] = set()
        self._pages: dict[str, dict[str, Any]] = {}
        self._thread: dict[str, Any] = {}

    def add(self, request: RestRequest, response: Response, comparison: Comparison) -> None:
        """Learn from one response."""
        for name in ("content-type", "content-encoding"):
            value = response.header(name)
            if value is not None and _HEADER_VALUE.fullmatch(value):
                self._encodings.add(f"{name}: {value.lower()}")
        names = (each.decode("latin-1") for each in response.headers)
        self._rate_headers |= {each for each in names if _RATE.search(each) and len(each) <= 60}
        if response.status != request.route.status:
            return
        document = _decoded(response.body)
        for name, values in comparison.values.items():
            self._values[name] |= values
        if request.route is TOKEN:
            self._token = {name_or_other(key): type_of(value) for key, value in document.items()}
            return
        self._fields |= comparison.undocumented
        if request.route is MESSAGES:
            self._pages[request.target.partition("?")[2]] = document
        elif request.route is THREAD:
            self._thread |= document

    def learned(self) -> Learned:
        """Return what was learned."""
        first = self._pages.get("", {})
        open_values = {name: values for name, values in self._values.items() if not ENUMERATIONS[name].values}
        shown = {name: sorted(_shown(values), key=str) for name, values in open_values.items()}
        return Learned(
            messages_order=_order(first),
            messages_default_limit=_limit(first),
            messages_largest_limit=_limit(self._pages.get(f"offset=0&limit={_LARGE_LIMIT}", {})),
            enumerations={name: values for name, values in sorted(shown.items()) if values},
            external_message_ids="external_message_ids" in self._thread,
            token_fields=self._token,
            customer_fields=self._fields,
            encodings=sorted(self._encodings),
            rate_headers=sorted(self._rate_headers),
        )


def _shown(values: Iterable[str | int]) -> set[str | int]:
    return {each for each in map(harmless, values) if each is not None}


def _messages(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = page.get("messages")
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _limit(page: Mapping[str, Any]) -> str:
    """Return how many messages a page has if the thread has more."""
    if not page:
        return _NO_PAGE
    count, total = len(_messages(page)), page.get("total")
    if isinstance(total, int) and total > count > 0:
        return str(count)
    return f"unknown: the thread has {count}, and all came"


def _order(page: Mapping[str, Any]) -> str:
    if not page:
        return _NO_PAGE
    moments = []
    for message in _messages(page):
        try:
            moments.append(datetime.fromisoformat(str(message.get("created_at"))).timestamp())
        except (ValueError, OverflowError):
            return "unknown: a message has no date"
    if len(set(moments)) < 2:
        return "unknown: too few messages"
    if all(one <= other for one, other in pairwise(moments)):
        return "oldest first"
    return "newest first" if all(one >= other for one, other in pairwise(moments)) else "neither by date nor reversed"


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _differences(report: Report, baseline: Report | None) -> Iterable[Finding]:
    new = report.new_since(baseline)
    for difference in report.drift:
        is_new = difference in new
        yield Finding(Level.FAIL if is_new else Level.WARN, "drift", f"{difference}{'' if is_new else ' (known)'}")
    for name, value in msgspec.structs.asdict(report.learned).items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield Finding(Level.OK, "learned", f"{name:<22} {shown}")


def _written(report: Report, request: DriftRequest) -> Iterable[Finding]:
    """Write the report. Where that is impossible, nothing else of the check is lost."""
    if request.report is None:
        return
    try:
        report.write(request.report)
    except OSError as exc:
        text = f"{request.report} cannot be written: {exc.strerror}."
        yield Finding(Level.FAIL, "--report", text, "Name a file in a directory that this user can write to.")


def _summary(report: Report, baseline: Report | None, subject: str, has_thread: bool) -> Iterable[Finding]:
    if not has_thread:
        text = "the thread could not be read, and so neither could its messages and customers be compared."
        yield Finding(Level.FAIL, subject, text, "Name a thread that the account of the gateway can read.")
    count, new = sum(report.responses.values()), len(report.new_since(baseline))
    text = f"{count} responses were compared: {new} new differences, {len(report.drift) - new} known ones"
    yield Finding(Level.OK, subject, text)
