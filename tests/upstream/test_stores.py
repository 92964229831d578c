"""The memory store: it stays within its bound, and returns what was stored or nothing."""

import asyncio
import secrets
import tracemalloc

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.storage.memory import MemoryStore
from tests.harness import Clock

BOUND = 20_000
KEYS = st.text("abc", min_size=1, max_size=2)
MADE_KEYS = ("made 1", "made 2", "made 3")
VALUES = (st.integers(0, BOUND) | st.just(BOUND)).map(bytes)  # the last is too large for the store


class MemoryStoreMachine(RuleBasedStateMachine):
    """Any operations on a store, compared with a dictionary that only drops expired entries."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.store = MemoryStore(BOUND, self.clock)
        self.kept: dict[str, tuple[bytes, float]] = {}

    def teardown(self) -> None:
        self.runner.close()

    def present(self, keys: list[str]) -> dict[str, bytes]:
        values = self.runner.run(self.store.get(keys))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    @rule(key=KEYS, value=VALUES, lifetime=st.integers(1, 100))
    def set(self, key: str, value: bytes, lifetime: int) -> None:
        self.runner.run(self.store.set(key, value, lifetime))
        self.kept[key] = (value, self.clock.now + lifetime)
        fits = len(value) < BOUND - 1000
        assert not fits or self.present([key]) == {key: value}, "the last stored entry is there"

    @rule(key=KEYS, value=st.binary(max_size=16), lifetime=st.integers(1, 100))
    def claim(self, key: str, value: bytes, lifetime: int) -> None:
        before = self.present([key]).get(key)
        found = self.runner.run(self.store.claim(key, value, lifetime))
        assert found == (value if before is None else before)
        if before is None:
            self.kept[key] = (value, self.clock.now + lifetime)

    @rule(key=st.sampled_from(MADE_KEYS), size=st.integers(0, BOUND), lifetime=st.integers(1, 100))
    def keep(self, key: str, size: int, lifetime: int) -> None:
        """What was made of values takes room, at most an eighth of the store, until its time."""
        self.store.keep(key, bytes(size), size, self.clock.now + lifetime)
        found = self.store.entry(key)
        if size <= BOUND / 8 - 1000:
            assert found is not None
            assert len(found.made) == size
        if found is not None:
            assert len(found.made) <= BOUND / 8

    @precondition(lambda self: self.kept)
    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def everything_there_was_kept_and_has_time_left(self) -> None:
        present = self.present(list(self.kept))
        entries = {key: entry for key in MADE_KEYS if (entry := self.store.entry(key)) is not None}
        made = sum(len(entry.made) for entry in entries.values())
        assert sum(map(len, present.values())) + made <= BOUND
        for key, value in present.items():
            assert self.kept[key][0] == value
            assert self.clock.now < self.kept[key][1]
        assert all(self.clock.now < entry.expires for entry in entries.values())


TestMemoryStore = MemoryStoreMachine.TestCase
TestMemoryStore.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


async def test_memory_is_bounded_for_any_sizes_of_keys_and_values() -> None:
    """The overhead of an entry counts, and so do long keys: callers choose the ids."""
    bound = 2**19
    for key_size, value_size in ((24, 16), (24, 4096), (500, 16), (24, 2**16)):
        store = MemoryStore(bound)
        tracemalloc.start()
        try:
            for _ in range(bound // (value_size + 200)):
                await store.set(secrets.token_hex(key_size), secrets.token_bytes(value_size), 60)
            taken, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < bound, f"{taken / bound:.2f} of the bound with values of {value_size} bytes"
