"""What a plan still has to load, and how much of the response it has built.

A plan counts the same fields as the reference executor does, and refuses a response with too many. It does not encode
every value to count its bytes: it knows a bound. Where that is too high and the value is not simple to measure, it
stands aside, and the reference decides.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from gateway.schema.resolvers.budget import ResponseLimits

ItemsT = TypeVar("ItemsT", bound=Sequence[Any])

Gap: TypeAlias = tuple[Any, Any, Any, Any]
"""A value that has to be loaded: its step, the struct or list that gets it, its place there, what the link takes of its
parent."""


class StoodAside(Exception):
    """The plan cannot answer this request; the message is the reason."""


class Gaps(list[Gap]):
    """The gaps of one value, and its size: its fields, and the bytes of their keys."""

    __slots__ = ("_limits", "_max_fields", "_max_keys", "fields", "keys")

    def __init__(self, limits: ResponseLimits, max_fields: int, max_keys: int) -> None:
        super().__init__()
        self._limits = limits
        self._max_fields = max_fields
        self._max_keys = max_keys
        self.fields = 0
        self.keys = 0

    def take(self, items: ItemsT, fields: int, keys: int) -> ItemsT:
        """Return ``items``, and count the fields of each and the bytes of their keys; raise ResponseTooLarge."""
        count = len(items)
        self.fields += count * fields
        self.keys += count * keys
        if self.fields > self._max_fields or self.keys > self._max_keys:
            raise self._limits.error
        return items

    def take_one(self, fields: int, keys: int) -> None:
        """Count one object."""
        self.fields += fields
        self.keys += keys
        if self.fields > self._max_fields or self.keys > self._max_keys:
            raise self._limits.error


class Room:
    """What the response of one execution of a plan may still have."""

    __slots__ = ("_bytes", "_fields", "_limits")

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._fields = limits.fields
        self._bytes = limits.bytes

    def gaps(self, times: int) -> Gaps:
        """Return the gaps for a value that the response has so many times."""
        return Gaps(self._limits, self._fields // times, self._limits.bytes // times)

    def take(self, value: Any, text: int, gaps: Gaps, times: int) -> Any:
        """Return the value, encoded where it had to be measured; raise StoodAside if there is no room for it.

        It has ``text`` bytes at most beside its keys. What fills its gaps is counted when it is built.
        """
        size = text + gaps.keys
        if size * times > self._bytes and size <= 2 * self._limits.bytes:
            encoded = msgspec.json.encode(value)
            size = len(encoded)
            if not gaps:
                value = msgspec.Raw(encoded)
        self._fields -= gaps.fields * times
        self._bytes -= size * times
        if self._fields < 0:
            raise self._limits.error
        if self._bytes < 0:
            raise StoodAside("a large response")
        return value
