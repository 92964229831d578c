"""The links of the graph: fields whose value is in another REST response. Both executors follow them.

A resolver follows its link with `Link.follow`. A compiled plan finds the same link on the field with `link_of`, and
reads the loads that `ask` returns in its own way. So the call of a field is declared once, with the field.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from graphql import GraphQLField

from gateway.compat.strawberry import definition_of, python_name
from gateway.errors import GatewayError
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.cooperative import iterate_cooperatively
from gateway.schema.resolvers.loaders import Loaders, RestKey
from gateway.schema.resolvers.pagination import ITEMS_TOTAL, Page, Tail, connection, require_whole
from gateway.schema.resolvers.records import Record, RestBody, read_integer, read_object, read_objects, read_text
from gateway.upstream.contract import Read, Route

_METADATA = "gateway.link"
_CALLS = "gateway.calls"


@dataclass(frozen=True, slots=True, eq=False)
class RestSource:
    """The bodies of one REST route, and which part of them is a value of the GraphQL type ``type_name``.

    Without a route the identifier of a load is its body, and no call is made.

    That part is the object at the key ``part``; or, with ``items``, the list at that key as a connection of
    ``item_type``; or else the whole body. ``typed`` values carry their ``__typename``: they are members of a union.
    """

    type_name: str
    route: Read | None
    part: str | None = None
    items: str | None = None
    item_type: str | None = None
    typed: bool = False

    def value(self, record: Record, page: Page | None) -> Record | None:
        """Return the value inside a decoded body; raise UpstreamInvalidResponse if it has another type."""
        if self.items is not None and page is not None:
            return connection(read_objects(record, self.items), read_integer(record, ITEMS_TOTAL), page)
        value = record if self.part is None else read_object(record, self.part)
        return {**value, "__typename": self.type_name} if self.typed and value is not None else value


class Load(NamedTuple):
    """What a link loads for one value: the body for an id.

    ``page`` is the part of a list that the body holds. It is meant to be the ``tail``, if there is one.
    """

    source: RestSource
    identifier: str
    page: Page | None = None
    tail: Tail | None = None

    @property
    def key(self) -> RestKey:
        """What is loaded of the source's route."""
        return self.identifier, None if self.page is None else self.page.requested

    @property
    def most_calls(self) -> int:
        """How many REST calls it takes at most."""
        return 2 if self.tail is not None and self.tail.end is None else 1

    async def body(self, loaders: Loaders) -> RestBody | None:
        """Return the body, None where there is none; raise the GatewayError of its call."""
        if self.source.route is None:
            return RestBody(self.identifier.encode())
        return await loaders.of(self.source.route).load(self.key)

    async def tail_body(self, loaders: Loaders, body: RestBody) -> "tuple[Load, RestBody | None]":
        """Return the load that has the tail, and its body: this one with its ``body``, or a second one.

        Raises UpstreamInvalidResponse if what the REST API sent is not the tail, and the GatewayError of a second call.
        """
        load, found = self, body
        if self.page is not None and self.tail is not None:
            second = self.tail.second_page(self.page, *self.extent(body))
            if second is not None:
                load = self._replace(page=second)
                further = await load.body(loaders)
                if further is None:
                    return load, None
                found = further
            require_whole(load.page or self.page, *self.extent(found))
        return load, found

    def extent(self, body: RestBody) -> tuple[int, int | None]:
        """Return how many items of the list a body has, and the size that it gives for the whole list."""
        record = body.record()
        total = read_integer(record, ITEMS_TOTAL)
        return len(read_objects(record, self.source.items or "")), total if isinstance(total, int) else None


class SeveralLoads:
    """What a link loads for a list: each load with its places in the list. Some of them may be refused."""

    __slots__ = ("places", "size")

    def __init__(self, loads: Iterable[Load | GatewayError]) -> None:
        self.places: dict[Load | GatewayError, list[int]] = {}
        self.size = 0
        for load in loads:
            self.places.setdefault(load, []).append(self.size)
            self.size += 1


Loads: TypeAlias = Load | SeveralLoads | None
"""What a link loads for one parent: one value, a list of values, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """How the value of a field is loaded.

    ``ask`` takes the context, the parent's text at ``parent_key`` (see `read_text`; None for the root), and the
    field's arguments by their Python names. ``sources`` are all that its loads may have. With ``size_key`` there is a
    pair in place of the text: the text, and the integer at ``size_key`` of the parent, None if there is none. A load
    with the argument ``tail_argument`` may take a second call.
    """

    ask: Callable[..., Loads]
    sources: tuple[RestSource, ...]
    parent_key: str | None = None
    size_key: str | None = None
    tail_argument: str | None = None

    @property
    def metadata(self) -> dict[str, "Link"]:
        """The metadata of the Strawberry field, where `link_of` finds the link."""
        return {_METADATA: self}

    async def follow(self, context: OperationContext, parent: Record | None = None, **arguments: Any) -> Any:
        """Return the field's value: a record, None, or a list of them with the errors of those that failed."""
        loads = self.ask(context, self._of(parent), **arguments)
        if loads is None:
            return None
        if isinstance(loads, Load):
            return await _value(context, loads)
        return await self._all(context, loads)

    def _of(self, parent: Record | None) -> Any:
        if parent is None or self.parent_key is None:
            return None
        text = read_text(parent, self.parent_key)
        if self.size_key is None:
            return text
        size = read_integer(parent, self.size_key)
        return text, size if isinstance(size, int) else None

    async def _all(self, context: OperationContext, loads: SeveralLoads) -> Any:
        """Return the value of each load; of those that are the same, one is loaded."""
        accepted = [each for each in loads.places if isinstance(each, Load)]
        found = await asyncio.gather(*(_value(context, each) for each in accepted), return_exceptions=True)
        by_load = dict(zip(accepted, found, strict=True))
        values: list[Any] = [None] * loads.size
        for load, places in loads.places.items():
            for place in places:
                values[place] = by_load[load] if isinstance(load, Load) else load
        # graphql-core reports an exception in a list as the error of that item, and keeps the others.
        return iterate_cooperatively(lambda: values, context.pace)


async def _value(context: OperationContext, load: Load) -> Record | None:
    """Return the value of a load. All that wait for one body can go on in the same turn of the event loop."""
    body = await load.body(context.loaders)
    await context.pace.turn()
    if load.tail is not None and body is not None:
        load, body = await load.tail_body(context.loaders, body)
        await context.pace.turn()
    if context.budget.exceeded is not None:
        raise context.budget.exceeded
    return None if body is None else load.source.value(body.record(), load.page)


def link_of(field: GraphQLField) -> Link | None:
    """Return the link of a field of the schema, None if its value is in the body of its parent."""
    definition = definition_of(field)
    link = None if definition is None else definition.metadata.get(_METADATA)
    return link if isinstance(link, Link) else None


def makes_calls(most: Mapping[Route, int]) -> dict[str, Mapping[Route, int]]:
    """Return the metadata of a field whose resolver makes REST calls by itself: of each route, ``most`` at most."""
    return {_CALLS: most}


def calls_of(field: GraphQLField) -> Mapping[Route, int]:
    """Return how many REST calls the resolver of a field makes by itself at most, beside those of its link."""
    definition = definition_of(field)
    calls: Mapping[Route, int] = {} if definition is None else definition.metadata.get(_CALLS, {})
    return calls


def python_arguments(field: GraphQLField, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's coerced argument values by the Python names that `Link.ask` takes."""
    return {python_name(field.args[name]): value for name, value in values.items()}
