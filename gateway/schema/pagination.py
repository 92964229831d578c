"""A Relay connection over ``offset`` and ``limit`` (Relay: GraphQL Cursor Connections Specification).

A cursor is the position of its edge in the whole list. The REST API does not say how it orders messages, so a cursor
is only as stable as that order.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadUserInput
from gateway.schema.records import Record, read_objects

_PREFIX = b"offset:"
_LARGEST_OFFSET = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the list is asked for."""

    offset: int
    limit: int


def page_of(first: int | None, after: str | None, *, default: int, largest: int) -> Page:
    """Return the page that a connection's arguments ask for; raise BadUserInput for arguments out of range."""
    limit = default if first is None else first
    if not 1 <= limit <= largest:
        raise BadUserInput(f"`first` is {limit}: it must be from 1 to {largest}.")
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
    if not 0 <= position < _LARGEST_OFFSET:
        raise BadUserInput("`after` is not a cursor of this connection: take it from `pageInfo.endCursor`.")
    return position


def connection(record: Record, key: str, page: Page) -> Record:
    """Return the connection's record for one page of the REST API: the list at ``key``, and ``total``."""
    nodes = read_objects(record, key)[: page.limit]
    total = record.get("total")
    end = page.offset + len(nodes)
    more = end < total if isinstance(total, int) else len(nodes) == page.limit
    return {
        "edges": [{"cursor": cursor_at(page.offset + index), "node": node} for index, node in enumerate(nodes)],
        "nodes": nodes,
        "page_info": _page_info(page, end, more=more and bool(nodes)),
        "total_count": total,
    }


def _page_info(page: Page, end: int, *, more: bool) -> dict[str, Any]:
    empty = end == page.offset
    return {
        "has_next_page": more,
        "has_previous_page": page.offset > 0,
        "start_cursor": None if empty else cursor_at(page.offset),
        "end_cursor": None if empty else cursor_at(end - 1),
    }
