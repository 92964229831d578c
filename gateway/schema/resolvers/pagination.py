"""A Relay connection over ``offset`` and ``limit`` (Relay: GraphQL Cursor Connections Specification).

A cursor is the position of its edge in the whole list. The order of messages in the REST API is not documented, and a
cursor is only as stable as that order.

Where the last edges are depends on how long the list is. That is what the parent says, or it is found with the first
request; a second one gets the edges then.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.errors import BadUserInput, PageTooLarge, UpstreamInvalidResponse
from gateway.schema.resolvers.records import Record

_PREFIX = b"offset:"
_LARGEST_OFFSET = 2**31 - 1


ITEMS_TOTAL = "total"
"""The key beside a list in a REST body: the number of items in the whole list."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the list a connection shows. It is empty with a ``limit`` of 0."""

    offset: int
    limit: int

    @property
    def requested(self) -> "Page":
        """What is requested for it: what the REST API does with a limit of 0 is unknown."""
        return self if self.limit else Page(self.offset, 1)

    @property
    def query(self) -> dict[str, int]:
        """The query string that requests it."""
        return {"offset": self.offset, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Tail:
    """The last ``size`` edges of those from the position ``start`` on and before ``end``.

    Without ``end`` they are the last of the whole list, which is ``assumed`` to have so many items. That may be wrong,
    and is None where nothing is known.
    """

    size: int
    start: int
    end: int | None
    assumed: int | None

    @property
    def first_page(self) -> Page:
        """The page to request first."""
        end = self.assumed if self.end is None else self.end
        return Page(self.start, self.size) if end is None else self._page(end)

    def second_page(self, page: Page, count: int, total: int | None) -> Page | None:
        """Return the page that has the edges, None if they are in ``page``.

        The REST API has sent ``count`` items of that, and the ``total``, None if it is no integer. Raises
        UpstreamInvalidResponse where it takes that to find the edges.
        """
        if self.end is not None:
            return None
        if total is None:
            if self.assumed is None and count >= page.limit:
                raise UpstreamInvalidResponse("The REST API left out the `total` that says where the last edges are.")
            return None
        found = self._page(total)
        return None if found.offset == page.offset and min(count, page.limit) >= found.limit else found

    def _page(self, end: int) -> Page:
        offset = max(self.start, end - self.size)
        return Page(offset, max(end - offset, 0))


def require_whole(page: Page, count: int, total: int | None) -> None:
    """Raise UpstreamInvalidResponse if a page of the last edges lacks some of them: nobody would find those again.

    A page of the first edges may lack some, because the next one begins with them.
    """
    expected = min(page.limit, 0 if total is None else total - page.offset)
    if count < expected:
        raise UpstreamInvalidResponse(
            f"The REST API sent {count} of the {expected} items that were requested; ask for fewer with `last`."
        )


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a connection."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    def pages(self, total: int | None, *, default: int, largest: int) -> tuple[Page, Tail | None]:
        """Return the page to request, and of what it is meant to be the tail, if there is a ``last``.

        ``total`` is the length of the list as far as it is known. Raises BadUserInput for arguments out of range.
        """
        if self.first is not None and self.last is not None:
            raise BadUserInput("`first` and `last` are both given: a page is either of the first or of the last edges.")
        start = 0 if self.after is None else _position("after", self.after) + 1
        end = None if self.before is None else _position("before", self.before)
        if self.last is not None:
            tail = Tail(_size("last", self.last, 1, largest), start, end, total)
            return tail.first_page, tail
        size = _size("first", default if self.first is None else self.first, 0, largest)
        return Page(start, size if end is None else min(size, max(end - start, 0))), None


def _size(name: str, size: int, smallest: int, largest: int) -> int:
    if smallest <= size <= largest:
        return size
    error = PageTooLarge if size > largest else BadUserInput
    raise error(f"`{name}` is {size}: it must be from {smallest} to {largest}.")


def cursor_at(position: int) -> str:
    """Return the cursor of the edge at ``position``, counted from 0."""
    return urlsafe_b64encode(_PREFIX + str(position).encode()).decode()


def _position(argument: str, cursor: str) -> int:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii"))
        position = int(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) and len(text) < 32 else -1
    except ValueError:
        position = -1
    if not 0 <= position < _LARGEST_OFFSET or cursor_at(position) != cursor:
        source = {"after": "endCursor", "before": "startCursor"}[argument]
        raise BadUserInput(f"`{argument}` is not a cursor of this connection: take it from `pageInfo.{source}`.")
    return position


class _LoadedPage(NamedTuple):
    """The nodes that were loaded for ``page``, and the ``total`` of the whole list."""

    nodes: list[Any]
    total: Any
    page: Page
    is_cut: bool
    """Whether the REST API sent more nodes than these."""


def _edges(loaded: _LoadedPage) -> list[Record]:
    return [{"cursor": cursor_at(loaded.page.offset + index), "node": node} for index, node in enumerate(loaded.nodes)]


def _page_info(loaded: _LoadedPage) -> Record:
    end = loaded.page.offset + len(loaded.nodes)
    more = end < loaded.total if isinstance(loaded.total, int) else len(loaded.nodes) == loaded.page.limit
    return {
        "has_next_page": more and bool(loaded.nodes) if loaded.page.limit else loaded.is_cut,
        "has_previous_page": loaded.page.offset > 0,
        "start_cursor": cursor_at(loaded.page.offset) if loaded.nodes else None,
        "end_cursor": cursor_at(end - 1) if loaded.nodes else None,
    }


_FIELDS: Mapping[str, Callable[[_LoadedPage], Any]] = {
    "edges": _edges,
    "nodes": lambda loaded: loaded.nodes,
    "page_info": _page_info,
    "total_count": lambda loaded: loaded.total,
}


def connection(nodes: list[Any], total: Any, page: Page, fields: Collection[str] = _FIELDS) -> Record:
    """Return the record of a connection, or only its ``fields``.

    ``nodes`` is the list in the REST body for ``page``, and ``total`` the size that the body gives for the whole list.
    """
    loaded = _LoadedPage(nodes[: page.limit], total, page, len(nodes) > page.limit)
    return {name: _FIELDS[name](loaded) for name in fields}
