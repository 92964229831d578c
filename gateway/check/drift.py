"""Searches for drift with a few GETs: compares each response with the contract, and learns what is not documented."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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
from gateway.upstream.contract import CUSTOMER, ENUMERATIONS, MESSAGES, THREAD, TOKEN
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
from gateway.upstream.drift.report import Learned, Report, build_report, read_report
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


class DriftRequest(NamedTuple):
    """What to search for drift with: the id of a thread, where to write the report, and an earlier one."""

    thread_id: str
    report: Path | None = None
    baseline: Path | None = None


class _Recorder:
    """Wraps a transport, and keeps every response with its request: also those of logins and of retries."""

    def __init__(self, following: Transport, exchanges: list[tuple[RestRequest, Response]]) -> None:
        self._following = following
        self._exchanges = exchanges

    async def send(self, request: RestRequest) -> Response:
        response = await self._following.send(request)
        self._exchanges.append((request, response))
        return response

    async def aclose(self) -> None:
        await self._following.aclose()


async def search_drift(settings: Settings, request: DriftRequest) -> list[Finding]:
    """Return the differences as findings: those that the baseline does not have are failures. Write the report.

    Raises ConfigurationError where the baseline cannot be read or the report not be written.
    """
    subject = f"drift of {request.thread_id}"
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        text = "cannot be searched in passthrough mode. Set GATEWAY_UPSTREAM_IDENTITY to `service`, with an account."
        return [Finding(Level.FAIL, subject, text)]
    baseline = None if request.baseline is None else read_report(request.baseline, "--baseline")
    shared = shared_by(settings.cache)
    try:
        exchanges = await _exchanges(settings, request.thread_id, shared)
        events = await _unknown_events(settings, shared)
    finally:
        await shared.aclose()
    report = _compare(exchanges, _known(settings, baseline), events)
    if request.report is not None:
        report.write(request.report)
    return list(_findings(report, baseline, subject))


async def _exchanges(settings: Settings, thread_id: str, shared: Shared) -> list[tuple[RestRequest, Response]]:
    exchanges: list[tuple[RestRequest, Response]] = []
    upstream = settings.upstream.model_copy(update={"retries": 0})
    cache = settings.cache.model_copy(update={"url": None})
    record = [lambda following: _Recorder(following, exchanges)]
    async with build_upstream(upstream, cache, shared, record).client as client:
        await _read_everything(client, thread_id, settings.upstream.operation_timeout)
    return exchanges


async def _read_everything(client: UpstreamClient, thread_id: str, seconds: float) -> None:
    """Read a thread, its messages in several ways, its customers, and a thread that does not exist."""
    body = await _read(client.get(_call(seconds), THREAD, thread_id))
    for page in _PAGES:
        await _read(client.get(_call(seconds), MESSAGES, thread_id, page))
    for external_id in _external_ids(body):
        await _read(client.get(_call(seconds), CUSTOMER, external_id))
    await _read(client.get(_call(seconds), THREAD, _NO_THREAD))


def _call(seconds: float) -> CallContext:
    return CallContext(Viewer(None), asyncio.get_running_loop().time() + seconds, fresh=True)


async def _read(call: "asyncio.Future[bytes | None]") -> bytes | None:
    """Return the body; None for a failure, whose response was recorded if there was one."""
    try:
        return await call
    except GatewayError:
        return None


def _external_ids(thread: bytes | None) -> list[str]:
    customers = _decoded(thread or b"").get("customers")
    idents = (
        [each.get("external_id") for each in customers if isinstance(each, dict)] if isinstance(customers, list) else []
    )
    return [each for each in dict.fromkeys(idents) if isinstance(each, str) and each][:_MOST_CUSTOMERS]


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


def _compare(exchanges: Iterable[tuple[RestRequest, Response]], known: Known, events: Iterable[Drift]) -> Report:
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
            messages_order=_order(_messages(first)),
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
    count, total = len(_messages(page)), page.get("total")
    if isinstance(total, int) and total > count > 0:
        return str(count)
    return f"unknown: the thread has {count}, and all came"


def _order(messages: Iterable[Mapping[str, Any]]) -> str:
    moments = []
    for message in messages:
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


def _findings(report: Report, baseline: Report | None, subject: str) -> Iterable[Finding]:
    new = report.new_since(baseline)
    count = sum(report.responses.values())
    if report.responses.get(THREAD.name, 0) == 0:
        yield Finding(Level.FAIL, subject, "no response could be compared.", "See what the other findings say.")
        return
    for difference in report.drift:
        is_new = difference in new
        yield Finding(Level.FAIL if is_new else Level.WARN, "drift", f"{difference}{'' if is_new else ' (known)'}")
    for name, value in msgspec.structs.asdict(report.learned).items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield Finding(Level.OK, "learned", f"{name:<22} {shown}")
    summary = f"{count} responses were compared: {len(new)} new differences, {len(report.drift) - len(new)} known ones"
    yield Finding(Level.OK, subject, summary)
