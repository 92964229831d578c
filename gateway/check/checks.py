"""The checks, one after another, and their findings."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.app import validate
from gateway.auth import Viewer
from gateway.auth.jwks import FETCH_FAILURES, failure_reason, jwks_fetcher, jwks_members, usable_keys
from gateway.check.drift import DriftRequest, search_drift
from gateway.check.finding import Finding, Level
from gateway.check.reasons import Reason, reason_of
from gateway.check.writing import try_to_write
from gateway.clock import REAL_TIME, Timing
from gateway.errors import BadUserInput, ConfigurationError, GatewayError, Unauthenticated
from gateway.server.listeners import bind
from gateway.server.serve import descriptors_needed
from gateway.settings import InboundAuth, Settings, UpstreamIdentity, unknown_variables
from gateway.storage.shared import shared_by
from gateway.telemetry import descriptor_problem
from gateway.upstream.client import CallContext
from gateway.upstream.contract import THREAD
from gateway.upstream.drift.report import read_report
from gateway.upstream.stack import build_client
from gateway.web.webhook.endpoint import UnknownEvents

# An id that no thread has, so that the response to an accepted caller is 404.
_NO_THREAD = "gochat-gateway-check"
# A header that is no login, so that the REST API refuses it without counting a failed attempt.
_NO_LOGIN = "Bearer none"
_REDIS_SECONDS = 5.0
_PREVENT_CALLS = frozenset({"settings", "credentials"})


def check(
    settings: Settings,
    write_to: str | None = None,
    timing: Timing = REAL_TIME,
    drift: DriftRequest | None = None,
) -> list[Finding]:
    """Return the findings in order. The checks end at a failure that makes the following ones impossible.

    ``write_to`` is the id of a thread, to which a message is written if all is well. With ``drift`` the responses of
    the REST API are compared with the contract, unless the account was rejected: it is tried only once.

    Raises ConfigurationError before anything is tried: an id cannot be one of a thread, or the baseline be read.
    """
    _require_thread_ids({"--write": write_to, "--drift": None if drift is None else drift.thread_id})
    baseline = None if drift is None or drift.baseline is None else read_report(drift.baseline, "--baseline")

    async def collect() -> list[Finding]:
        findings = [finding async for finding in _findings(settings)]
        if write_to is not None and all(finding.ok for finding in findings):
            findings.append(await try_to_write(settings, write_to, timing))
        if drift is not None and {each.subject for each in findings if not each.ok}.isdisjoint(_PREVENT_CALLS):
            findings += await search_drift(settings, drift, baseline)
        return findings

    return asyncio.run(collect())


def _require_thread_ids(given: Mapping[str, str | None]) -> None:
    for option, thread_id in given.items():
        try:
            THREAD.path(_NO_THREAD if thread_id is None else thread_id)
        except BadUserInput as exc:
            raise ConfigurationError([f"{option}: {exc.message} Name the id of a thread."]) from exc


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    for line in unknown_variables():
        yield Finding(Level.WARN, "settings", f"{line}.")
    try:
        validate(settings)
        yield Finding(Level.OK, "settings", "complete and consistent")
    except ConfigurationError as exc:
        for problem in exc.problems:
            yield Finding(Level.FAIL, "settings", problem)
    if shortage := descriptor_problem(descriptors_needed(settings.upstream)):
        yield Finding(Level.WARN, "limits", f"{shortage}.")
    yield _port(settings)
    if settings.cache.redis_url is not None:
        yield await _reach_redis(settings.cache.redis_url)
        async for finding in _unknown_webhooks(settings):
            yield finding
    if settings.auth.jwt_jwks_url is not None and InboundAuth.JWT in (settings.auth.inbound or "").split(","):
        yield await _fetch_keys(str(settings.auth.jwt_jwks_url), settings)
    async for finding in _upstream(settings):
        yield finding


async def _unknown_webhooks(settings: Settings) -> AsyncIterator[Finding]:
    """Report the shapes of webhooks that were not understood, as the gateways at the same Redis have kept them."""
    if settings.live.webhook_authorization is None:
        return
    async with aclosing(shared_by(settings.cache)) as shared:
        found = await UnknownEvents(shared).kept()
    for (code, shape), times in (found or {}).items():
        text = f"{times} of the last events that were not understood ({code}) have these keys: {', '.join(shape)}."
        yield Finding(Level.WARN, "webhook", text, "Everything is purged after each of them.")


async def _upstream(settings: Settings) -> AsyncIterator[Finding]:
    try:
        reached = await _reach(settings)
    except ConfigurationError:  # reported by `validate`
        return
    yield reached
    if not reached.ok:
        return
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        yield Finding(Level.OK, "credentials", "callers send their own (passthrough)")
        return
    yield await _log_in(settings)


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    try:
        bind(host, port, option="GATEWAY_PORT").close()
    except ConfigurationError as exc:
        if isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.EADDRINUSE:
            hint = "By this gateway, if it runs already; if not, choose another with GATEWAY_PORT."
            return Finding(Level.WARN, "port", f"{port} of {host} is in use.", hint)
        return Finding(Level.FAIL, "port", exc.problems[0])
    return Finding(Level.OK, "port", f"{port} of {host} is free")


async def _reach_redis(url: str) -> Finding:
    """Send a PING. The address may hold a password, so it is not shown."""
    from redis.asyncio import Redis  # noqa: PLC0415 - importing redis takes a tenth of a second
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 6379}"
    try:
        async with Redis.from_url(url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS) as client:
            await client.ping()
    except AuthenticationError:
        return Finding(
            Level.FAIL, "redis", f"{where} rejects the user or the password.", "Correct them in GATEWAY_CACHE_URL."
        )
    except (RedisError, OSError, TimeoutError) as exc:
        reason = reason_of(exc, "GATEWAY_CACHE_URL") or Reason("Redis does not answer.", "Check GATEWAY_CACHE_URL.")
        return Finding(Level.FAIL, "redis", f"{where}: {reason.text}", reason.hint)
    return Finding(Level.OK, "redis", f"{where} answered")


async def _fetch_keys(url: str, settings: Settings) -> Finding:
    """Fetch the token issuer's keys, as the gateway does for the first token."""
    try:
        keys = usable_keys(jwks_members(await jwks_fetcher(url, settings.upstream.ca_file)()))
    except FETCH_FAILURES as exc:
        text = f"{url}: the token issuer's keys cannot be fetched ({failure_reason(exc)})."
        reason = reason_of(exc, "GATEWAY_JWT_JWKS_URL") or Reason("", "Check GATEWAY_JWT_JWKS_URL.")
        return Finding(Level.FAIL, "tokens", f"{text} {reason.text}".rstrip(), reason.hint)
    return Finding(Level.OK, "tokens", f"{url} has {len(keys)} of the token issuer's keys")


async def _reach(settings: Settings) -> Finding:
    """Request a thread without credentials, which the REST API refuses."""
    upstream = settings.upstream.model_copy(update={"identity": UpstreamIdentity.PASSTHROUGH})
    url = settings.upstream.url
    started = time.perf_counter()
    try:
        await _ask(replace(settings, upstream=upstream), Viewer(_NO_LOGIN))
    except Unauthenticated:
        milliseconds = (time.perf_counter() - started) * 1000
        return Finding(Level.OK, "upstream", f"{url} answered in {milliseconds:.0f} ms")
    except GatewayError as exc:
        status = f" (HTTP {exc.upstream.status})" if exc.upstream else ""
        otherwise = Reason("", "Check GATEWAY_UPSTREAM_URL, and whether this machine can connect to it.")
        reason = reason_of(exc, "GATEWAY_UPSTREAM_URL") or otherwise
        text = f"{url}: {exc.message}{status} {reason.text}".rstrip()
        return Finding(Level.FAIL, "upstream", text, reason.hint)
    text = f"{url} accepted a call without credentials, which the REST API never does."
    return Finding(Level.FAIL, "upstream", text, "Check GATEWAY_UPSTREAM_URL.")


async def _log_in(settings: Settings) -> Finding:
    who = f"{settings.upstream.username} ({settings.upstream.auth})"
    try:
        await _ask(settings, Viewer(None))
    except Unauthenticated as exc:
        codes = f" ({', '.join(exc.upstream.codes)})" if exc.upstream and exc.upstream.codes else ""
        hint = (
            "Correct GATEWAY_UPSTREAM_USERNAME and GATEWAY_UPSTREAM_PASSWORD before you try again, because the REST "
            "API locks an account after too many wrong logins."
        )
        return Finding(Level.FAIL, "credentials", f"{who} was rejected{codes}.", hint)
    except GatewayError as exc:
        return Finding(Level.FAIL, "credentials", f"{who} could not be checked: {exc.message}", "Try again later.")
    return Finding(Level.OK, "credentials", f"{who} was accepted")


async def _ask(settings: Settings, viewer: Viewer) -> bytes | None:
    async with build_client(settings.upstream, settings.cache, shared_by(settings.cache)) as client:
        deadline = asyncio.get_running_loop().time() + settings.upstream.operation_timeout
        return await client.thread(CallContext(viewer, deadline), _NO_THREAD)
