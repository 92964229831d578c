"""Checks whether the settings work: it reaches the REST API, and tries the credentials exactly once.

On request it also writes: whether a message is found again by the id that the gateway gives it is not documented.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec

from gateway.app import validate
from gateway.auth import Viewer
from gateway.auth.jwks import FETCH_FAILURES, failure_reason, jwks_fetcher, jwks_members, usable_keys
from gateway.clock import REAL_TIME, Timing
from gateway.errors import ConfigurationError, GatewayError, Unauthenticated
from gateway.settings import InboundAuth, Settings, UpstreamIdentity, unknown_variables
from gateway.storage.shared import shared_by
from gateway.upstream.client import CallContext
from gateway.upstream.stack import build_client
from gateway.upstream.writes.idempotency import IdempotencyKeys
from gateway.upstream.writes.message import NewMessage
from gateway.upstream.writes.outcome import Outcome
from gateway.upstream.writes.write import Reading
from gateway.upstream.writes.writer import Requested, Writer

# An id that no thread has, so that the response to an accepted caller is 404.
_NO_THREAD = "gochat-gateway-check"
# A header that is no login, so that the REST API refuses it without counting a failed attempt.
_NO_LOGIN = "Bearer none"
_TRIAL = "gochat-gateway check: this message tries whether messages are found by their external id."
# A message may take a minute to leave the outbox.
_OUTBOX_SECONDS = 90.0
_LOOKS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    ok: bool
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'FAIL '} {self.subject}: {self.text}"


def check(settings: Settings, write_to: str | None = None, timing: Timing = REAL_TIME) -> list[Finding]:
    """Return the findings in order. The checks end at a failure that makes the following ones impossible.

    ``write_to`` is the id of a thread, to which a message is written.
    """

    async def collect() -> list[Finding]:
        findings = [finding async for finding in _findings(settings)]
        if write_to is not None and all(finding.ok for finding in findings):
            findings.append(await _write(settings, write_to, timing))
        return findings

    return asyncio.run(collect())


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    for line in unknown_variables():
        yield Finding(ok=True, subject="settings", text=f"note: {line}")
    try:
        validate(settings)
        yield Finding(ok=True, subject="settings", text="complete and consistent")
    except ConfigurationError as exc:
        for problem in exc.problems:
            yield Finding(ok=False, subject="settings", text=problem)
    if settings.auth.jwt_jwks_url is not None and InboundAuth.JWT in (settings.auth.inbound or "").split(","):
        yield await _fetch_keys(str(settings.auth.jwt_jwks_url), settings)
    try:
        reached = await _reach(settings)
    except ConfigurationError:  # reported above
        return
    yield reached
    if not reached.ok:
        return
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        text = "callers send their own (passthrough)"
        yield Finding(ok=True, subject="credentials", text=text)
        return
    yield await _log_in(settings)


async def _fetch_keys(url: str, settings: Settings) -> Finding:
    """Fetch the token issuer's keys, as the gateway does for the first token."""
    try:
        keys = usable_keys(jwks_members(await jwks_fetcher(url, settings.upstream.ca_file)()))
    except FETCH_FAILURES as exc:
        text = f"{url}: the token issuer's keys cannot be fetched ({failure_reason(exc)}). Check GATEWAY_JWT_JWKS_URL."
        return Finding(ok=False, subject="tokens", text=text)
    return Finding(ok=True, subject="tokens", text=f"{url} has {len(keys)} of the token issuer's keys")


async def _reach(settings: Settings) -> Finding:
    """Request a thread without credentials, which the REST API refuses."""
    upstream = settings.upstream.model_copy(update={"identity": UpstreamIdentity.PASSTHROUGH})
    url = settings.upstream.url
    started = time.perf_counter()
    try:
        await _ask(replace(settings, upstream=upstream), Viewer(_NO_LOGIN))
    except Unauthenticated:
        milliseconds = (time.perf_counter() - started) * 1000
        return Finding(ok=True, subject="upstream", text=f"{url} answered in {milliseconds:.0f} ms")
    except GatewayError as exc:
        status = f" (HTTP {exc.upstream.status})" if exc.upstream else ""
        text = f"{url}: {exc.message}{status} Check GATEWAY_UPSTREAM_URL, and whether this machine can connect to it."
        return Finding(ok=False, subject="upstream", text=text)
    text = f"{url} accepted a call without credentials, which the REST API never does. Check GATEWAY_UPSTREAM_URL."
    return Finding(ok=False, subject="upstream", text=text)


async def _log_in(settings: Settings) -> Finding:
    who = f"{settings.upstream.username} ({settings.upstream.auth})"
    try:
        await _ask(settings, Viewer(None))
    except Unauthenticated as exc:
        codes = f" ({', '.join(exc.upstream.codes)})" if exc.upstream and exc.upstream.codes else ""
        text = (
            f"{who} was rejected{codes}. Correct GATEWAY_UPSTREAM_USERNAME and GATEWAY_UPSTREAM_PASSWORD before "
            "you try again, because the REST API locks an account after too many wrong logins."
        )
        return Finding(ok=False, subject="credentials", text=text)
    except GatewayError as exc:
        text = f"{who} could not be checked: {exc.message} Try again later."
        return Finding(ok=False, subject="credentials", text=text)
    return Finding(ok=True, subject="credentials", text=f"{who} was accepted")


async def _ask(settings: Settings, viewer: Viewer) -> bytes | None:
    async with build_client(settings.upstream, settings.cache, shared_by(settings.cache)) as client:
        deadline = asyncio.get_running_loop().time() + settings.upstream.operation_timeout
        return await client.thread(CallContext(viewer, deadline), _NO_THREAD)


async def _write(settings: Settings, thread_id: str, timing: Timing) -> Finding:
    """Write a message to nobody, and look for it by its id until it has had time to leave the outbox."""
    subject = f"writing to {thread_id}"
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        text = "cannot be tried in passthrough mode. Set GATEWAY_UPSTREAM_IDENTITY to `service`, with an account."
        return Finding(ok=False, subject=subject, text=text)
    ext_msg_id = IdempotencyKeys(None).ext_msg_id("", thread_id, None)
    body = {"thread_id": thread_id, "ext_msg_id": ext_msg_id, "content": _TRIAL}
    message = NewMessage(thread_id, ext_msg_id, msgspec.json.encode(body))
    async with build_client(settings.upstream, settings.cache, shared_by(settings.cache)) as client:
        requested = Requested(message, {}, None, "check")
        deadline = asyncio.get_running_loop().time() + _OUTBOX_SECONDS
        call = CallContext(Viewer(None), deadline, fresh=True)
        try:
            written = await Writer(client, _no_purge, timing=timing).perform(requested, call)
        except GatewayError as exc:
            return Finding(ok=False, subject=subject, text=f"nothing was written: {exc.message}")
        if written.outcome is Outcome.NOT_APPLIED:
            codes = ", ".join(error.code for error in written.errors)
            return Finding(ok=False, subject=subject, text=f"nothing was written: the REST API refused it ({codes}).")
        reading = Reading(client, call, timing)
        for _ in range(_LOOKS):
            if (await message.look(reading)).outcome is Outcome.APPLIED:
                text = f"the message {ext_msg_id} was written, and is found by its id"
                return Finding(ok=True, subject=subject, text=text)
            await timing.sleep(_OUTBOX_SECONDS / _LOOKS)
    text = (
        f"the message {ext_msg_id} was written ({written.outcome.value}), and is not found by its id after "
        f"{_OUTBOX_SECONDS:.0f} seconds. Look at the thread: if it is there, the REST API shows the id elsewhere, and "
        "lost answers to `createMessage` stay UNKNOWN. Please report it."
    )
    return Finding(ok=False, subject=subject, text=text)


async def _no_purge(_subject: str) -> None:
    """Nothing is cached here."""
