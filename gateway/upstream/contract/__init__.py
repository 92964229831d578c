"""What is known of the REST API: its routes, types, fields and events, each once, with how sure that is.

The rows are in `reads`, `writes` and `events`. Everything else that lists a part of the REST API is made from them, or
is compared with them by a test: loaders, cache times, purge subjects, the GraphQL types, the sandbox, the fault matrix
and docs/reference/rest-api.md.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

from gateway.upstream.contract import events, reads, writes
from gateway.upstream.contract.events import EVENTS
from gateway.upstream.contract.model import Certainty, Enumeration, Event, Field, IdPaths, ObjectType
from gateway.upstream.contract.reads import CUSTOMER, MESSAGES, THREAD
from gateway.upstream.contract.route import Freshness, Read, Route, Subject, Write
from gateway.upstream.contract.writes import CREATE_CHAT_TOKEN, CREATE_MESSAGE, TOKEN, UPDATE_THREAD

__all__ = [
    "CREATE_CHAT_TOKEN",
    "CREATE_MESSAGE",
    "CUSTOMER",
    "ENUMERATIONS",
    "EVENTS",
    "MESSAGES",
    "READS",
    "ROUTES",
    "THREAD",
    "TOKEN",
    "TYPES",
    "UPDATE_THREAD",
    "WRITES",
    "Certainty",
    "Enumeration",
    "Event",
    "Field",
    "Freshness",
    "IdPaths",
    "ObjectType",
    "Read",
    "Route",
    "Subject",
    "Write",
]

_RowT = TypeVar("_RowT")


def _rows(kind: type[_RowT], *modules: ModuleType) -> tuple[_RowT, ...]:
    """Return the rows of one kind that stand in the modules, in their order."""
    return tuple(each for module in modules for each in vars(module).values() if isinstance(each, kind))


READS: tuple[Read, ...] = _rows(Read, reads)
"""The routes that are read. Each has a loader, and a field of the graph that uses it."""

WRITES: tuple[Write, ...] = _rows(Write, writes)
"""The routes that are written to, the token call among them."""

ROUTES: Mapping[str, Route] = {each.name: each for each in (*READS, *WRITES)}
"""Every route by its name."""

TYPES: Mapping[str, ObjectType] = {each.name: each for each in _rows(ObjectType, reads, writes, events)}
"""Every JSON object by its name."""

ENUMERATIONS: Mapping[str, Enumeration] = {each.name: each for each in _rows(Enumeration, reads, events)}
"""Every enumeration by its name."""
