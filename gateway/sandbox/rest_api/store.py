"""The data that the sandbox serves: the seed, what was posted since, and the encoded bodies of both.

Bodies are replaced and never changed in place, so the seed can be shared. An encoded body is kept until the next
write, so that a benchmark measures the gateway and not this encoder.
"""

import math
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.sandbox.fixtures.customers import Body
from gateway.sandbox.fixtures.seed import Seed
from gateway.sandbox.http.response import RefusedError
from gateway.sandbox.rest_api.outbox import check_recipients, message_body
from gateway.sandbox.rest_api.request_bodies import NewMessage, ThreadUpdate
from gateway.sandbox.webhooks import Source, Webhooks


class Store:
    """Threads, messages and customers by id. With `echo_caller`, every body names its caller."""

    def __init__(self, seed: Seed, webhooks: Webhooks, *, echo_caller: bool, clock: Callable[[], float]) -> None:
        self._threads = dict(seed.threads)
        self._messages = dict(seed.messages)
        self._customers = dict(seed.customers)
        self._webhooks = webhooks
        self._echo_caller = echo_caller
        self._clock = clock
        self._encoded: dict[tuple[str, str, str], bytes] = {}
        self._outbox: list[tuple[float, NewMessage]] = []
        self._lock = threading.RLock()
        self.outbox_delay = 0.0
        """Seconds until a sent message is in its thread."""

    def thread(self, ident: str, caller: str) -> bytes:
        """Return the body of a thread; 404 if there is none."""
        with self._lock:
            self._empty_outbox()
            return self._encode("thread", ident, caller, lambda: self._echo_thread(ident, caller))

    def customer(self, external_id: str, caller: str) -> bytes:
        """Return the detail body of a customer; 404 if there is none."""
        with self._lock:
            return self._encode("customer", external_id, caller, lambda: self._echo_customer(external_id, caller))

    def messages(self, ident: str, offset: int, limit: int) -> bytes:
        """Return a page of a thread's messages, oldest first; 404 if there is no such thread."""
        with self._lock:
            _found("thread", ident, self._threads)
            self._empty_outbox()
            messages = self._messages.get(ident, [])
        return msgspec.json.encode({"messages": messages[offset : offset + limit], "total": len(messages)})

    def put_thread(self, body: Body, messages: Sequence[Body] = ()) -> None:
        """Add or replace a thread, by the body's `id`."""
        with self._lock:
            self._threads[body["id"]] = body
            self._messages[body["id"]] = list(messages)
            self._encoded.clear()
            self._webhooks.thread_changed(body["id"], "web")

    def change_thread(self, ident: str, changes: Body) -> None:
        """Replace fields of a thread, as somebody at the vendor's own pages does."""
        with self._lock:
            thread = _found("thread", ident, self._threads)
            self._replace(ident, {**thread, **changes, "id": ident, "updated_at": self._now()}, "web")

    def put_customer(self, external_id: str, body: Body) -> None:
        """Add or replace the detail body of a customer."""
        with self._lock:
            self._customers[external_id] = body
            self._encoded.clear()
            self._webhooks.customer_changed((body.get("customer") or {}).get("id"), external_id, "web")

    def update_thread(self, ident: str, update: ThreadUpdate) -> None:
        """Apply `POST /thread/{id}`. A comment is accepted and shown nowhere, because its place is unknown."""
        with self._lock:
            thread = _found("thread", ident, self._threads)
            changes: Body = {"updated_at": self._now()}
            if update.status is not None:
                changes["status"] = update.status
            if update.tag_codes is not None:
                changes["tags"] = update.tag_codes
            if update.reminder is not None:
                changes["reminder"] = {**msgspec.to_builtins(update.reminder), "next_date": None}
            if update.customer_ids is not None or update.customer_external_ids is not None:
                changes["customers"] = self._chosen(update)
            self._replace(ident, {**thread, **changes}, "api")

    def add_message(self, new: NewMessage) -> None:
        """Apply `POST /message`. A message without a `thread_id` is accepted and shown nowhere."""
        with self._lock:
            if new.thread_id is None:
                return
            check_recipients(new, _found("thread", new.thread_id, self._threads))
            message_body(new, "", "")  # refuses wrong attachments
            self._outbox.append((self._clock() + self.outbox_delay, new))
            self._empty_outbox()
            if self._outbox and self._webhooks.target is not None:  # nobody may ask for the thread until then
                timer = threading.Timer(self.outbox_delay, self.empty_outbox, [None])
                timer.daemon = True
                timer.start()

    def empty_outbox(self, now: float | None = math.inf) -> None:
        """Let every message leave the outbox whose time is before ``now``, or before the time of the clock."""
        with self._lock:
            self._empty_outbox(now)

    def _empty_outbox(self, now: float | None = None) -> None:
        """Add to their threads the messages whose time has come."""
        now = self._clock() if now is None else now
        due = [new for at, new in self._outbox if at <= now]
        self._outbox = [(at, new) for at, new in self._outbox if at > now]
        for new in due:
            self._deliver(new.thread_id or "", new)

    def _deliver(self, ident: str, new: NewMessage) -> None:
        thread = self._threads[ident]
        messages = self._messages.get(ident, [])
        message = message_body(new, f"{ident}-m{len(messages) + 1}", self._now())
        self._messages[ident] = [*messages, message]
        changes: Body = {"last_message": message, "message_count": len(messages) + 1}
        if new.ext_msg_id is not None:
            changes["external_message_ids"] = [*(thread.get("external_message_ids") or ()), new.ext_msg_id]
        if new.set_reminder is not None:
            changes["reminder"] = {**msgspec.to_builtins(new.set_reminder), "next_date": None}
        self._replace(ident, {**thread, **changes, "updated_at": message["created_at"]}, None)
        self._webhooks.message_added(ident, message["id"], "api")

    def _encode(self, kind: str, ident: str, caller: str, body: Callable[[], Body]) -> bytes:
        key = (kind, ident, caller if self._echo_caller else "")
        if (encoded := self._encoded.get(key)) is None:
            encoded = self._encoded[key] = msgspec.json.encode(body())
        return encoded

    def _echo_thread(self, ident: str, caller: str) -> Body:
        thread = _found("thread", ident, self._threads)
        if not self._echo_caller:
            return thread
        return {**thread, "tags": [*(thread.get("tags") or ()), f"caller:{caller}"]}

    def _echo_customer(self, external_id: str, caller: str) -> Body:
        detail = _found("customer", external_id, self._customers)
        if not self._echo_caller or not detail.get("customer"):
            return detail
        return {**detail, "customer": {**detail["customer"], "comment": f"caller:{caller}"}}

    def _chosen(self, update: ThreadUpdate) -> list[Body]:
        known = [detail["customer"] for detail in self._customers.values() if detail.get("customer")]
        return [
            *(_pick(known, "id", ident) for ident in update.customer_ids or ()),
            *(_pick(known, "external_id", ident) for ident in update.customer_external_ids or ()),
        ]

    def _replace(self, ident: str, thread: Body, source: Source | None) -> None:
        """Replace the thread; without a ``source``, no webhook is sent."""
        self._threads[ident] = thread
        self._encoded.clear()
        if source is not None:
            self._webhooks.thread_changed(ident, source)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _found(kind: str, ident: str, bodies: dict[str, Body]) -> Body:
    if ident not in bodies:
        raise RefusedError(404, f"{kind}_not_found", f"There is no {kind} {ident!r}.")
    return bodies[ident]


def _pick(customers: list[Body], key: str, ident: str) -> Any:
    for customer in customers:
        if customer.get(key) == ident:
            return customer
    raise RefusedError(422, "unknown_customer", f"There is no customer with {key} {ident!r}.")
