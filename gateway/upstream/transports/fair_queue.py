"""The fair queue: one line per caller, served in turn, so that a greedy caller fills and waits in only its own line.

    callers in turn     their lines, first in, first out
    ┌▶ A ─────────────  a1 a2 a3 a4 …
    │  B ─────────────  b1                    served: a1 b1 c1 a2 c2 a3 a4 …
    └─ C ─────────────  c1 c2

Each step takes constant time, except that `FairQueue.ahead` takes time proportional to the caller's own line, and
`FairQueue.pop` to the number of callers that are passed over.
"""

from collections import OrderedDict
from collections.abc import Container
from typing import Generic, TypeVar

T = TypeVar("T")

_SHARE = 2
"""A line may be this many times as long as the room that is left: one caller can fill two thirds of the queue."""


class FairQueue(Generic[T]):
    """Items that wait, at most ``limit`` of them. An item may stand in the lines of several callers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # OrderedDict, because finding the first key of a dict whose first keys were deleted takes linear time.
        self._lines: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._callers: dict[T, list[str]] = {}
        self._longer_than: list[int] = []
        """At index n: how many lines have more than n items."""

    def __len__(self) -> int:
        return len(self._callers)

    def has_room(self, caller: str) -> bool:
        """Whether the queue has room for one more item of this caller."""
        room = self._limit - len(self._callers)
        return room > 0 and len(self._lines.get(caller, ())) <= _SHARE * room

    def ahead(self, caller: str) -> int:
        """Return how many items are served before the next one of this caller, at most."""
        return sum(self._longer_than[: len(self._lines.get(caller, ())) + 1])

    def add(self, item: T, caller: str) -> None:
        """Put an item at the end of the caller's line, if it does not stand there already."""
        line = self._lines.setdefault(caller, OrderedDict())
        if item in line:
            return
        if len(line) == len(self._longer_than):
            self._longer_than.append(0)
        self._longer_than[len(line)] += 1
        line[item] = None
        self._callers.setdefault(item, []).append(caller)

    def remove(self, item: T) -> None:
        """Take an item out of every line it stands in, if it does."""
        for caller in self._callers.pop(item, ()):
            line = self._lines[caller]
            del line[item]
            self._longer_than[len(line)] -= 1
            if not line:
                del self._lines[caller]

    def pop(self, passed_over: Container[str] = ()) -> tuple[T, str] | None:
        """Take out the first item of the caller whose turn it is, and return both.

        None if nobody waits but those who are ``passed_over``; they keep their turns.
        """
        caller = next((each for each in self._lines if each not in passed_over), None)
        if caller is None:
            return None
        item = next(iter(self._lines[caller]))
        self._lines.move_to_end(caller)
        self.remove(item)
        return item, caller
