"""Idempotency keys: the same key of the same caller gets the first answer again, for a day, and nothing is sent twice.

    claim ──new──▶ under way ──the write ends──▶ answered
      │               │   └──nothing was sent──▶ forgotten
      │               └──its worker died: ``until`` is over──▶ read back once more, answered
      └──known──▶ other input? IDEMPOTENCY_MISMATCH; under way? wait; answered? the same answer

A record holds the outcome and the errors, never what was written or read: threads and messages are read again, and a
token is not kept. Records are in Redis, or in the memory of the only worker, which refuses new keys once it is full:
to forget one could send a message twice.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from gateway.clock import REAL_TIME, Timing
from gateway.errors import BadUserInput, GatewayError, IdempotencyMismatch, IdempotencyUnavailable
from gateway.upstream.writes.outcome import Answer, InputError, Outcome

LIFETIME_SECONDS = 86_400.0
_MAX_KEY_CHARACTERS = 255
_MAX_IN_MEMORY = 50_000
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 5.0
"""How much later than its deadline a write may end before its worker counts as dead."""


class KeyStore(Protocol):
    """Keeps records by key. It never forgets one before its time, and never fails."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none or the store does not respond."""

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
        """Keep ``value`` for ``lifetime`` seconds; return whether it was kept."""

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now, None where that is unknown."""

    async def delete(self, key: str, value: bytes | None = None) -> None:
        """Forget ``key``; with ``value`` only where it has that one."""


class KeyMemory:
    """The records of the only worker, in its memory. All live equally long, so the oldest end first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MAX_IN_MEMORY) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[str, tuple[bytes, float]] = {}

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values."""
        self._expire()
        return [self._kept[key][0] if key in self._kept else None for key in keys]

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:  # noqa: ARG002 - the protocol's
        """Replace the value of a key that was claimed."""
        known = self._kept.get(key)
        self._kept[key] = (value, self._clock() + lifetime if known is None else known[1])
        return True

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep a new key; None once there are too many."""
        self._expire()
        if key not in self._kept and len(self._kept) >= self._most:
            return None
        return self._kept.setdefault(key, (value, self._clock() + lifetime))[0]

    async def delete(self, key: str, value: bytes | None = None) -> None:
        """Forget ``key``; with ``value`` only where it has that one."""
        if value is None or await self.get([key]) == [value]:
            self._kept.pop(key, None)

    def _expire(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values()))[1] <= now:
            del self._kept[next(iter(self._kept))]


class _Record(msgspec.Struct, array_like=True, frozen=True):
    """What is kept for a key, as hashes. ``nonce`` tells claims apart; ``until`` is a time of the wall clock."""

    fingerprint: bytes
    subject: bytes
    nonce: bytes
    until: float
    outcome: Outcome | None = None
    """None while the write is under way."""
    errors: tuple[tuple[tuple[str, ...], str, str], ...] = ()


_DECODER = msgspec.json.Decoder(_Record)


class Subject(NamedTuple):
    """Who writes, by which mutation, and to which thread; its id is empty where there is none."""

    caller: str
    mutation: str
    thread_id: str


@dataclass(frozen=True, slots=True)
class KeyedWrite:
    """A write with its key; another ``content`` under the same key is a mistake."""

    key: str
    subject: Subject
    content: bytes = field(repr=False)


class IdempotencyKeys:
    """Performs writes with keys. ``store`` is None where workers or gateways cannot share one, so that none is taken.

    ``secret`` keys all hashes: gateways that share the store must share it.
    """

    def __init__(self, store: KeyStore | None, secret: bytes | None = None, timing: Timing = REAL_TIME) -> None:
        self._store = store
        self._secret = hashlib.sha256(secret or secrets.token_bytes(32)).digest()
        self._timing = timing

    def ext_msg_id(self, caller: str, thread_id: str | None, key: str | None) -> str:
        """Return the id of a message in the REST API: for a key always the same one, else a random one."""
        if key is None:
            return f"gg-{secrets.token_hex(16)}"
        self.require(key)
        return f"gg-{self._hash('message', caller, thread_id or '', key).hex()}"

    def require(self, key: str) -> KeyStore:
        """Return the store; raise BadUserInput for a key that is none, IdempotencyUnavailable where none is taken."""
        if not 1 <= len(key) <= _MAX_KEY_CHARACTERS:
            raise BadUserInput(f"`idempotencyKey` must have 1 to {_MAX_KEY_CHARACTERS} characters.")
        if self._store is None:
            raise IdempotencyUnavailable
        return self._store

    async def outcome(self, subject: Subject, key: str) -> Outcome | None:
        """Return the outcome that is kept for a key and its subject, None where none is."""
        (value,) = await self.require(key).get([self._place(subject.caller, key)])
        record = _decoded(value)
        return record.outcome if record is not None and record.subject == self._hash("subject", *subject) else None

    async def perform(
        self,
        keyed: KeyedWrite,
        seconds: float,
        work: Callable[[], Awaitable[Answer]],
        read_back: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """Return the answer of ``work``, or the one that was given before.

        The caller waits for ``seconds`` at most. ``read_back`` finds out about a write that takes longer, or whose
        worker has died. An error that ``work`` raises means that nothing was written: the key can be used again.
        """
        store, place = self.require(keyed.key), self._place(keyed.subject.caller, keyed.key)
        mine = self._record(keyed, self._timing.now() + seconds + _GRACE_SECONDS)
        give_up = asyncio.get_running_loop().time() + seconds
        found = await self._claim(store, place, mine)
        if found is None:
            await store.delete(place, msgspec.json.encode(mine))  # it may be kept: the reply can be all that is lost
            raise IdempotencyUnavailable("Idempotency keys cannot be kept now. Nothing was sent.", retry_after=1.0)
        while True:
            if found is not None and found.fingerprint != mine.fingerprint:
                raise IdempotencyMismatch
            if found is not None and found.nonce == mine.nonce:
                return await self._first(store, place, mine, work)
            if found is not None and found.outcome is not None:
                return Answer(found.outcome, tuple(InputError(*each) for each in found.errors))
            is_dead = found is not None and self._timing.now() >= found.until
            if is_dead or asyncio.get_running_loop().time() >= give_up:
                answer = await read_back()
                if found is not None and is_dead:
                    await self._keep(store, place, found, answer)
                return answer
            await self._timing.sleep(_POLL_SECONDS)
            # Claimed again, not only read: a write that was not sent is forgotten, and this one takes its place.
            found = await self._claim(store, place, mine)

    async def _claim(self, store: KeyStore, place: str, mine: _Record) -> _Record | None:
        return _decoded(await store.claim(place, msgspec.json.encode(mine), LIFETIME_SECONDS))

    async def _first(self, store: KeyStore, place: str, mine: _Record, work: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await work()
        except GatewayError:
            await store.delete(place)
            raise
        await self._keep(store, place, mine, answer)
        return answer

    async def _keep(self, store: KeyStore, place: str, record: _Record, answer: Answer) -> None:
        """Keep an answer. Where the store does not respond, the key stays under way, and is read back later."""
        errors = tuple((each.field, each.code, each.message) for each in answer.errors)
        kept = msgspec.structs.replace(record, outcome=answer.outcome, errors=errors)
        await store.set(place, msgspec.json.encode(kept), LIFETIME_SECONDS, urgent=True)

    def _record(self, keyed: KeyedWrite, until: float) -> _Record:
        subject = self._hash("subject", *keyed.subject)
        return _Record(self._hash("input", subject, keyed.content), subject, secrets.token_bytes(16), until)

    def _place(self, caller: str, key: str) -> str:
        return f"idempotency:{self._hash('key', caller, key).hex()}"

    def _hash(self, purpose: str, *parts: str | bytes) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=16, person=purpose.encode())
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8) + data)
        return digest.digest()


def _decoded(value: bytes | None) -> _Record | None:
    try:
        return None if value is None else _DECODER.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
