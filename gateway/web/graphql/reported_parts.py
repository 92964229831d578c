"""An answer in parts, told of when its last part is there, or when nobody wants more of them."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

Part = dict[str, Any]


class ReportedParts(AsyncGenerator[Part, None]):
    """Passes the parts on, and calls ``over`` once, with whether all of them were taken.

    A generator would not do: one that is closed before its first step never runs, and would never be told of.
    """

    def __init__(self, following: AsyncGenerator[Part, None], over: Callable[[bool], None]) -> None:
        self._following = following
        self._over: Callable[[bool], None] | None = over

    async def asend(self, value: None) -> Part:
        """Return the next part."""
        try:
            return await self._following.asend(value)
        except StopAsyncIteration:
            self._end(complete=True)
            raise

    async def athrow(self, *raised: Any) -> Part:
        """Raise inside."""
        return await self._following.athrow(*raised)

    async def aclose(self) -> None:
        """Close the parts; whoever took them all has no effect any more."""
        try:
            await self._following.aclose()
        finally:
            self._end(complete=False)

    def _end(self, *, complete: bool) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(complete)
