"""A Relay connection over ``offset`` and ``limit`` (Relay: GraphQL Cursor Connections Specification).

A cursor is the position of its edge in the whole list. The order of messages in the REST API is not documented, and a
cursor is only as stable as that order.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.errors import BadUserInput, PageTooLarge
from gateway.schema.resolvers.records import Record

_PREFIX = b"offset:"
_LARGEST_OFFSET = 2**31 - 1


ITEMS_TOTAL = "total"
"""The key beside a list in a REST body: the number of items in the whole list."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the list is requested."""

    offset: int
    limit: int

    @property
    def query(self) -> dict[str, int]:
        """The query string that requests it."""
        return {"offset": self.offset, "limit": self.limit}


def page_of(first: int | None, after: str | None, *, default: int, largest: int) -> Page:
    """Return the page for a connection's arguments; raise BadUserInput for arguments out of range."""
    limit = default if first is None else first
    if not 1 <= limit <= largest:
        error = PageTooLarge if limit > largest else BadUserInput
        raise error(f"`first` is {limit}: it must be from 1 to {largest}.")
    return Page(0 if after is None else _position(after) + 1, limit)


def cursor_at(position: int) -> str:
    """Return the cursor of the edge at ``position``, counted from 0."""
    return urlsafe_b64encode(_PREFIX + str(position).encode()).decode()


def _position(cursor: str) -> int:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii"))
        position = int(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) and len(text) < 32 else -1
    except ValueError:
        position = -1
    if not 0 <= position < _LARGEST_OFFSET or cursor_at(position) != cursor:
        raise BadUserInput("`after` is not a cursor of this connection: take it from `pageInfo.endCursor`.")
    return position


class _LoadedPage(NamedTuple):
    """The nodes that were loaded for ``page``, and the ``total`` of the whole list."""

    nodes: list[Any]
    total: Any
    page: Page


def _edges(loaded: _LoadedPage) -> list[Record]:
    return [{"cursor": cursor_at(loaded.page.offset + index), "node": node} for index, node in enumerate(loaded.nodes)]


def _page_info(loaded: _LoadedPage) -> Record:
    end = loaded.page.offset + len(loaded.nodes)
    more = end < loaded.total if isinstance(loaded.total, int) else len(loaded.nodes) == loaded.page.limit
    return {
        "has_next_page": more and bool(loaded.nodes),
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
    loaded = _LoadedPage(nodes[: page.limit], total, page)
    return {name: _FIELDS[name](loaded) for name in fields}
