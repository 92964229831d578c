"""How many REST calls an operation will make, said before it makes one.

The selection is walked for fields that cost a call (`gateway.schema.resolvers.links`), and each is asked what it would
load, as an executor would ask it: what two of them load alike counts once. What only an answer can say is assumed: a
parent's text is a stand-in for one that is like no other, and a list has ``list_size`` items (``assumedSize`` in the
GraphQL Cost Directives specification). So the prediction is exact but for such lists, and for what turns out not to
exist or to be the same after all, where it is too high.

Most operations come to the same number whatever their variables are. It is worked out once and kept with the document.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    REMOVE,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    VisitorAction,
    get_named_type,
    visit,
)
from graphql.execution import VariableValues, get_argument_values

from gateway.compat.graphql_core import GroupedFieldSet
from gateway.errors import GatewayError
from gateway.execution.documents.incremental_directives import in_one_part
from gateway.execution.selection import NotPlannable, Selection, condition_variables, select
from gateway.execution.variables import Variables
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.links import Link, Load, RestSource, link_of, python_arguments

# Each variable that decides a @skip or @include can double them.
_MOST_VARIANTS = 4
# Documents within the default limits have far fewer; a document without limits can have any number.
_MOST_FIELDS = 10_000
BEYOND = 1_000_000
"""What is predicted of an operation that is too large to be looked through."""


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """A field that costs a REST call for each of its parents."""

    link: Link
    field: GraphQLField
    node: FieldNode
    place: tuple[str, ...]
    """The fields between the document that its parents are in and its parents."""
    times: int
    """How many parents there are at that place."""
    below: Mapping[RestSource, tuple["Need", ...]]

    @property
    def is_list(self) -> bool:
        """Whether it asks for several values at once."""
        of = self.field.type
        return isinstance(of.of_type if isinstance(of, GraphQLNonNull) else of, GraphQLList)


class OperationCost:
    """What one operation costs, under each way its variables decide ``@skip`` and ``@include``."""

    def __init__(
        self, schema: GraphQLSchema, document: Any, operation: OperationDefinitionNode, list_size: int
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._list_size = list_size
        try:
            self._conditions = condition_variables(document)
        except NotPlannable:
            document = in_one_part(document)
            self._conditions = condition_variables(document)
        self._document = document
        self._variables = Variables(schema, operation)
        self._variants: dict[tuple[Any, ...], tuple[tuple[Need, ...], int | None]] = {}
        self._only = None if self._conditions else self._variant({})

    def predict(self, context: OperationContext, inputs: dict[str, Any] | None, most: int) -> int:
        """Return how many REST calls are predicted; where it is more than ``most``, some number above it."""
        if self._only is not None and self._only[1] is not None:
            return self._only[1]
        variables = self._variables.coerce(inputs or {})
        if variables is None:
            return 0  # it will not even begin
        needs, total = self._only or self._variant(variables.coerced)
        return _Count(context, variables, most).of(needs) if total is None else total

    def _variant(self, values: Mapping[str, Any]) -> tuple[tuple[Need, ...], int | None]:
        key = tuple(values.get(name) for name in self._conditions)
        variant = self._variants.get(key)
        if variant is None:
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            variant = self._variants[key] = self._look_through(dict(zip(self._conditions, key, strict=True)))
        return variant

    def _look_through(self, conditions: dict[str, Any]) -> tuple[tuple[Need, ...], int | None]:
        query = self._schema.query_type
        if self._operation.operation is not OperationType.QUERY or query is None:
            return (), 0
        chosen = {name: value for name, value in conditions.items() if isinstance(value, bool)}
        selection = select(self._schema, self._document, self._operation, chosen)
        try:
            needs = _Finder(selection, self._list_size).below(selection.root(query), query)
        except _TooLarge:
            return (), BEYOND
        except GraphQLError:
            return (), 0  # as below, and here nothing is above
        return needs, _sum(needs) if _are_all_different(needs) else None


def most_calls(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, list_size: int, items: int
) -> int:
    """Return how many REST calls an operation comes to at most, whatever its variables are.

    A list that is a variable has so many ``items``; nothing is left out, and no two calls are taken to be the same.
    """
    query = schema.query_type
    if operation.operation is not OperationType.QUERY or query is None:
        return 0
    node: DocumentNode = visit(document, _WithoutDirectives())
    alike = (each for each in node.definitions if isinstance(each, OperationDefinitionNode))
    index = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)].index(operation)
    selection = select(schema, node, list(alike)[index], {})
    try:
        return _sum(_Finder(selection, list_size).below(selection.root(query), query), items=items)
    except _TooLarge:
        return BEYOND


class _WithoutDirectives(Visitor):
    def enter_directive(self, *_: object) -> VisitorAction:
        return REMOVE


class _TooLarge(Exception):
    """There are too many fields to look through."""


@dataclass(slots=True)
class _Finder:
    """Finds the fields that cost a call."""

    selection: Selection
    list_size: int
    left: int = _MOST_FIELDS

    def below(
        self, grouped: GroupedFieldSet, of: GraphQLObjectType, place: tuple[str, ...] = (), times: int = 1
    ) -> tuple[Need, ...]:
        """Return the needs of a selection of the type ``of``."""
        self.left -= len(grouped)
        if self.left < 0:
            raise _TooLarge
        needs: list[Need] = []
        for selected in grouped.values():
            name = selected[0].node.name.value
            if name in of.fields:
                needs.extend(self._field(name, of.fields[name], selected, place, times))
        return tuple(needs)

    def _field(
        self, name: str, of: GraphQLField, selected: Any, place: tuple[str, ...], times: int
    ) -> tuple[Need, ...]:
        link = link_of(of)
        if link is not None:
            below = {source: self._source(source, selected) for source in link.sources}
            return (Need(link, of, selected[0].node, place, times, below),)
        named = get_named_type(of.type)
        if not isinstance(named, GraphQLObjectType):
            return ()
        nullable = of.type.of_type if isinstance(of.type, GraphQLNonNull) else of.type
        each = times * self.list_size if isinstance(nullable, GraphQLList) else times
        return self.below(self._selected(selected, named), named, (*place, name), each)

    def _source(self, source: RestSource, selected: Any) -> tuple[Need, ...]:
        of = self.selection.schema.type_map[source.type_name]
        if not isinstance(of, GraphQLObjectType):
            return ()
        # The same object has the same place, whether it is the whole answer or a part of it.
        place = () if source.part is None else (source.part,)
        return self.below(self._selected(selected, of), of, place)

    def _selected(self, selected: Any, of: GraphQLObjectType) -> GroupedFieldSet:
        try:
            return self.selection.below(selected, of)
        except GraphQLError:
            return {}  # a condition without a value: the field above fails when it has been loaded


def _are_all_different(needs: tuple[Need, ...]) -> bool:
    """Return whether no two calls can be the same one, nor one field need several: then their number is a sum."""
    places = {(need.link, need.place) for need in needs}
    are_siblings = len(places) == len(needs) and (len(needs) < 2 or all(need.link.parent_key for need in needs))
    return are_siblings and all(
        not need.is_list and all(_are_all_different(below) for below in need.below.values()) for need in needs
    )


def _sum(needs: tuple[Need, ...], times: int = 1, items: int = 1) -> int:
    """Return the number of calls where no two are the same one; a field that needs several has ``items``."""
    total = 0
    for need in needs:
        each = times * need.times * (_items(need, items) if need.is_list else 1)
        total += each + sum(_sum(below, each, items) for below in need.below.values())
    return total


def _items(need: Need, items: int) -> int:
    written = [len(each.value.values) for each in need.node.arguments or () if isinstance(each.value, ListValueNode)]
    return max(written, default=items)


class _Enough(Exception):
    """There are more calls than anyone wants to know."""


@dataclass(slots=True)
class _Count:
    """Counts calls that are not the same one."""

    context: OperationContext
    variables: VariableValues
    most: int
    total: int = 0
    seen: dict[Any, int] = field(default_factory=dict)
    arguments: dict[Need, dict[str, Any] | None] = field(default_factory=dict)
    """A field's, which are the same for each of its parents; None where they are refused."""

    def of(self, needs: tuple[Need, ...]) -> int:
        """Return how many there are."""
        with suppress(_Enough):
            self._add(needs, None, 1)
        return self.total

    def _add(self, needs: tuple[Need, ...], parent: Any, times: int) -> None:
        for need in needs:
            for load in self._asked(need, parent):
                key = (load.source.loader(self.context.loaders), load.key)
                each = times * need.times
                known = self.seen.get(key, 0)
                if each > known:
                    self.total += each - known
                    self.seen[key] = each
                    if self.total > self.most:
                        raise _Enough
                self._add(need.below[load.source], key, each)

    def _asked(self, need: Need, parent: Any) -> list[Load]:
        """Return what a field would load; nothing where its arguments are refused."""
        if need not in self.arguments:
            self.arguments[need] = self._coerced(need)
        arguments = self.arguments[need]
        if arguments is None:
            return []
        text: Any = None if need.link.parent_key is None else (parent, need.place)
        try:
            asked = need.link.ask(self.context, text, **arguments)
        except (GatewayError, GraphQLError):
            return []
        loads = [asked] if isinstance(asked, Load) else asked or []
        return [each for each in loads if isinstance(each, Load)]

    def _coerced(self, need: Need) -> dict[str, Any] | None:
        try:
            return python_arguments(need.field, get_argument_values(need.field, need.node, self.variables))
        except GraphQLError:
            return None
