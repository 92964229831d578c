"""Predicts how many REST calls an operation makes, before it makes the first.

The selection is searched for fields that cost a call (`gateway.schema.resolvers.links`). Each is asked what it would
load, as an executor asks it; what two of them load alike counts once. What only a response can say is assumed: the
text of each parent is different, and a list has ``list_size`` items (``assumedSize`` in the GraphQL Cost Directives
specification). So the prediction is exact except for such lists, and too high where something does not exist or is
the same as something else.

Most operations cost the same whatever their variables are. Their cost is computed once and kept with the document.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cachetools import LRUCache
from graphql import (
    REMOVE,
    DocumentNode,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    ListValueNode,
    OperationDefinitionNode,
    Visitor,
    VisitorAction,
    get_named_type,
    get_nullable_type,
    visit,
)
from graphql.execution import VariableValues

from gateway.compat.graphql_core import GroupedFieldSet
from gateway.execution.cost.call_fields import Asker, CallField, Path
from gateway.execution.documents.incremental_directives import without_incremental_directives
from gateway.execution.selection import ConditionalOperation, Conditions, NotPlannable, Selection, select
from gateway.execution.variables import Variables
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.links import Load, RestSource, calls_of, link_of
from gateway.upstream.contract import Route

# Each variable in a @skip or an @include can double the number of variants.
_MAX_VARIANTS = 4
# Documents within the default limits have far fewer; a document without limits can have any number.
_MAX_FIELDS = 10_000
TOO_LARGE = 1_000_000
"""The prediction for an operation with too many fields to be searched."""


class OwnCalls(NamedTuple):
    """The calls of one route that the resolver of a field makes by itself."""

    route: Route
    most: int
    path: Path


class Prediction(NamedTuple):
    """The predicted calls of an operation, by route and by field. A call that several fields need is one of each."""

    total: int
    """What `OperationCost.predict` returns."""
    routes: Mapping[Route, int]
    fields: Mapping[tuple[Route, Path], int]


class CallsOfOperation(NamedTuple):
    """The fields at the root that cost a call, and all that may cause one by the templates of their routes."""

    fields: tuple[CallField, ...]
    by_route: Mapping[str, tuple[Path, ...]]


class OperationCost:
    """What one operation costs, for each combination of the variables in ``@skip`` and ``@include``."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, node: OperationDefinitionNode, list_size: int
    ) -> None:
        self._list_size = list_size
        try:
            self._operation = ConditionalOperation.of(schema, document, node)
        except NotPlannable:
            self._operation = ConditionalOperation.of(schema, without_incremental_directives(document), node)
        self._variants: LRUCache[Conditions, _Variant] = LRUCache(_MAX_VARIANTS)
        self._only = None if self._operation.names else self._search(())

    def predict(self, context: OperationContext, variables: Variables, limit: int) -> int:
        """Return how many REST calls are predicted; if there are more than ``limit``, some number above it."""
        if self._only is not None and self._only.total is not None:
            return self._only.total
        values = variables.values
        if values is None:
            return 0  # the operation does not begin
        variant = self._variant(values)
        if variant.total is not None:
            return variant.total
        return variant.own_total + _Counter(Asker(context, values), limit - variant.own_total).count(variant.fields)

    def explain(self, context: OperationContext, values: VariableValues, limit: int) -> Prediction:
        """Return the prediction by route and by field. The same `_Counter` counts both, up to ``limit``.

        A field whose arguments are refused makes no call, and is not listed.
        """
        variant = self._variant(values)
        counter = _Counter(Asker(context, values), limit - variant.own_total, needed=defaultdict(dict))
        counted = variant.own_total + counter.count(variant.fields)
        routes: Counter[Route] = Counter()
        fields: Counter[tuple[Route, Path]] = Counter()
        for own in variant.own:
            routes[own.route] += own.most
            fields[own.route, own.path] += own.most
        for (route, *_), calls in counter.seen.items():
            routes[route] += calls
        for (route, path), by_key in (counter.needed or {}).items():
            fields[route, path] += sum(by_key.values())
        return Prediction(counted if variant.total is None else variant.total, routes, fields)

    def calls(self, values: VariableValues) -> CallsOfOperation:
        """Return what may cause the operation's calls."""
        variant = self._variant(values)
        by_route: dict[str, dict[Path, None]] = {}
        for own in variant.own:
            by_route.setdefault(own.route.template, {})[own.path] = None
        fields = list(variant.fields)
        for each in fields:
            for source, below in each.below.items():
                if source.route is not None:
                    by_route.setdefault(source.route.template, {})[each.path] = None
                fields += below
        return CallsOfOperation(variant.fields, {route: tuple(paths) for route, paths in by_route.items()})

    def _variant(self, values: VariableValues) -> "_Variant":
        return self._only or self._of(self._operation.conditions(values))

    def _of(self, conditions: Conditions) -> "_Variant":
        variant: _Variant | None = self._variants.get(conditions)
        if variant is None:
            variant = self._variants[conditions] = self._search(conditions)
        return variant

    def _search(self, conditions: Conditions) -> "_Variant":
        selection = self._operation.select(conditions)
        finder = _Finder(selection, self._list_size)
        try:
            fields = finder.root()
        except _TooManyFieldsError:
            return _Variant((), (), TOO_LARGE)
        except GraphQLError:
            return _Variant((), (), 0)  # a condition without a value at the root: the operation fails
        found = _Variant(fields, tuple(finder.own), None)
        return found._replace(total=found.own_total + _sum(fields)) if _are_all_different(fields) else found


class _Variant(NamedTuple):
    """The fields that cost calls, the calls of resolvers beside those, and the sum where it is constant."""

    fields: tuple[CallField, ...]
    own: tuple[OwnCalls, ...]
    total: int | None

    @property
    def own_total(self) -> int:
        """How many calls the resolvers make by themselves."""
        return sum(each.most for each in self.own)


def most_calls(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, list_size: int, items: int
) -> int:
    """Return how many REST calls an operation makes at most, whatever its variables are.

    A list that is a variable has ``items`` items. Nothing is skipped, and no two calls are the same.
    """
    node: DocumentNode = visit(document, _WithoutDirectives())
    index = _operations(document).index(operation)
    selection = select(schema, node, _operations(node)[index], {})
    finder = _Finder(selection, list_size)
    try:
        return _sum(finder.root(), items=items) + sum(own.most for own in finder.own)
    except _TooManyFieldsError:
        return TOO_LARGE


def _operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    return [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]


class _WithoutDirectives(Visitor):
    def enter_directive(self, *_: object) -> VisitorAction:
        return REMOVE


class _TooManyFieldsError(Exception):
    """There are too many fields to search."""


class _Position(NamedTuple):
    """Where a selection stands: see `CallField`."""

    place: tuple[str, ...] = ()
    times: int = 1
    path: Path = ()


@dataclass(slots=True)
class _Finder:
    """Finds the fields that cost a call."""

    selection: Selection
    list_size: int
    left: int = _MAX_FIELDS
    own: list[OwnCalls] = field(default_factory=list)

    def root(self) -> tuple[CallField, ...]:
        """Return the fields that cost a call in the whole operation."""
        of = self.selection.root_type
        return self.below(self.selection.root(of), of, _Position())

    def below(self, grouped: GroupedFieldSet, of: GraphQLObjectType, position: _Position) -> tuple[CallField, ...]:
        """Return the fields that cost a call in a selection of the type ``of``."""
        self.left -= len(grouped)
        if self.left < 0:
            raise _TooManyFieldsError
        found: list[CallField] = []
        for key, selected in grouped.items():
            name = selected[0].node.name.value
            if name in of.fields:
                # Two aliases of a mutation are two writes; two of any other field are the same object.
                at = key if of is self.selection.schema.mutation_type else name
                here = position._replace(path=(*position.path, key))
                found.extend(self._field(at, of.fields[name], selected, here))
        return tuple(found)

    def _field(self, name: str, of: GraphQLField, selected: Any, here: _Position) -> tuple[CallField, ...]:
        """Return the fields that cost a call from this one down. ``here`` is where its parents are, and its path."""
        place, times, path = here
        self.own += [OwnCalls(route, times * most, path) for route, most in calls_of(of).items()]
        link = link_of(of)
        if link is not None and all(source.route is None for source in link.sources):
            return tuple(each for source in link.sources for each in self._source(source, selected, path))
        if link is not None:
            below = {source: self._source(source, selected, path) for source in link.sources}
            return (CallField(link, of, selected[0].node, place, times, path, below),)
        named = get_named_type(of.type)
        if not isinstance(named, GraphQLObjectType):
            return ()
        each = times * self.list_size if isinstance(get_nullable_type(of.type), GraphQLList) else times
        return self.below(self._selected(selected, named), named, _Position((*place, name), each, path))

    def _source(self, source: RestSource, selected: Any, path: Path) -> tuple[CallField, ...]:
        of = self.selection.schema.type_map[source.type_name]
        if not isinstance(of, GraphQLObjectType):
            return ()
        # An object has the same place, whether it is the whole body or a part of it.
        place = () if source.part is None else (source.part,)
        return self.below(self._selected(selected, of), of, _Position(place, path=path))

    def _selected(self, selected: Any, of: GraphQLObjectType) -> GroupedFieldSet:
        try:
            return self.selection.below(selected, of)
        except GraphQLError:
            return {}  # a condition without a value: the field above fails once it is loaded


def _are_all_different(fields: tuple[CallField, ...]) -> bool:
    """Return whether no two calls can be the same one, and each field makes one call: then their number is a sum."""
    places = {(each.link, each.place) for each in fields}
    are_siblings = len(places) == len(fields) and (len(fields) < 2 or all(each.link.parent_key for each in fields))
    return are_siblings and all(
        not each.is_list and each.most_calls == 1 and all(_are_all_different(below) for below in each.below.values())
        for each in fields
    )


def _sum(fields: tuple[CallField, ...], times: int = 1, items: int = 1) -> int:
    """Return the number of calls if no two are the same one; a field that is a list has ``items``."""
    total = 0
    for call_field in fields:
        each = times * call_field.times * (_items(call_field, items) if call_field.is_list else 1)
        total += each * call_field.most_calls + sum(_sum(below, each, items) for below in call_field.below.values())
    return total


def _items(call_field: CallField, items: int) -> int:
    written = [
        len(each.value.values) for each in call_field.node.arguments or () if isinstance(each.value, ListValueNode)
    ]
    return max(written, default=items)


class _LimitReached(Exception):
    """There are more calls than are counted."""


@dataclass(slots=True)
class _Counter:
    """Counts distinct calls."""

    asker: Asker
    limit: int
    total: int = 0
    seen: dict[Any, int] = field(default_factory=dict)
    needed: dict[tuple[Route, Path], dict[Any, int]] | None = None
    """By route and field, how many calls the field needs of each key; None: that is not wanted."""

    def count(self, fields: tuple[CallField, ...]) -> int:
        """Return how many there are."""
        with suppress(_LimitReached):
            self._add(fields, None, 1)
        return self.total

    def _add(self, fields: tuple[CallField, ...], parent: Any, times: int) -> None:
        for each in fields:
            for load in self._loads(each, parent):
                key = (load.source.route, load.key, load.tail if load.most_calls > 1 else None)
                calls = times * each.times * load.most_calls
                if self.needed is not None and load.source.route is not None:
                    of_field = self.needed[load.source.route, each.path]
                    of_field[key] = max(calls, of_field.get(key, 0))
                known = self.seen.get(key, 0)
                if calls > known:
                    self.total += calls - known
                    self.seen[key] = calls
                    if self.total > self.limit:
                        raise _LimitReached
                self._add(each.below[load.source], key, times * each.times)

    def _loads(self, call_field: CallField, parent: Any) -> list[Load]:
        """Return what a field loads; nothing if its arguments are refused."""
        found = self.asker.ask(call_field, (parent, call_field.place))
        if found is None or isinstance(found, Load):
            return [] if found is None else [found]
        return [each for each in found.places if isinstance(each, Load)]
