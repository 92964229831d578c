"""Writes the Python source of a plan: functions that build the response from decoded REST bodies.

For ``{ thread(id: 1) { id lastMessage { from } customers { id profile { customer { email } } } } }`` it is about

    def object_3(v2, gaps):
        out = Output_2(v2.id_, None)
        gaps.append((step_1, out, 'r1', v2.external_id_ or None))
        return out

    def value_4(body, page, gaps):
        return Output_3(body.id_, None if (v1 := body.last_message_) is None else Output_1(v1.from_),
                        [object_3(v2, gaps) for v2 in gaps.take(body.customers_ or (), 2, 17)])

Every object of the response is a struct whose encoded names are the response keys: msgspec creates and encodes structs
faster than dicts (measured: a big thread in two thirds of the time). An object with a field that costs a REST call has
a function of its own. It leaves that field of the struct empty, and appends to ``gaps`` what belongs there. Each list
is counted before its objects are built: with how many fields each, and how many bytes in their keys. So is each object
that may be null (left out above).

No text of a client becomes source. Names in the source are numbered or are the schema's own keys, and response keys
are only ever values.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from graphql import (
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
)

from gateway.compat.graphql_core import GroupedFieldSet
from gateway.execution.plans.decoders import RecordFields, attribute, build_items
from gateway.execution.selection import NotPlannable, Selected, Selection
from gateway.schema.resolvers.enumerations import NameOf, name_of
from gateway.schema.resolvers.links import Link, RestSource, link_of
from gateway.schema.resolvers.pagination import ITEMS_TOTAL, connection
from gateway.schema.resolvers.records import upstream_key

# Beside its name, a key has two quotes, a colon and a comma.
_AROUND_A_KEY = 4
# A plan is as large as its document with all fragments expanded, which can be exponentially larger than the text.
_MAX_FIELDS = 2000


class Place(Protocol):
    """The place where a generated expression finds the fields of one object."""

    def read(self, key: str, graphql_type: GraphQLOutputType) -> str:
        """Return the expression for the value at ``key``."""

    def read_text(self, key: str) -> str:
        """Return the expression for the text at ``key``, None if it is missing or empty."""

    def read_size(self, key: str) -> str:
        """Return the expression for the integer at ``key``, None if it is missing."""

    def below(self, key: str, variable: str, type_name: str) -> "Place":
        """Return the place of the object at ``key``, which ``variable`` holds."""


@dataclass(frozen=True, slots=True)
class InRecord:
    """An object that was decoded from a REST body: a struct. If ``cooperative``, its lists are built item by item."""

    variable: str
    fields: RecordFields
    cooperative: bool = False

    def read(self, key: str, graphql_type: GraphQLOutputType) -> str:
        """Return an attribute."""
        self.fields.read(key, graphql_type)
        return f"{self.variable}.{attribute(key)}"

    def read_text(self, key: str) -> str:
        """Return an attribute."""
        self.fields.read_also(key, GraphQLString)
        return f"{self.variable}.{attribute(key)} or None"

    def read_size(self, key: str) -> str:
        """Return an attribute."""
        self.fields.read_also(key, GraphQLInt)
        return f"{self.variable}.{attribute(key)}"

    def below(self, key: str, variable: str, type_name: str) -> Place:  # noqa: ARG002 - the protocol's signature
        """Return the struct below."""
        return InRecord(variable, self.fields.below[key], self.cooperative)


@dataclass(frozen=True, slots=True)
class InConnection:
    """An object that `connection` returns: a dict. The items in it are structs."""

    variable: str
    item_type: str
    items: RecordFields

    def read(self, key: str, graphql_type: GraphQLOutputType) -> str:  # noqa: ARG002 - the protocol's signature
        """Return an item of the dict."""
        return f"{self.variable}[{key!r}]"

    def read_text(self, key: str) -> str:
        """Refuse: a connection is no parent of a link."""
        raise NotPlannable(f"a link that needs `{key}` of a connection")

    def read_size(self, key: str) -> str:
        """Refuse, as `read_text`."""
        return self.read_text(key)

    def below(self, key: str, variable: str, type_name: str) -> Place:  # noqa: ARG002 - the protocol's signature
        """Return the dict below, or an item of the list."""
        if type_name == self.item_type:
            return InRecord(variable, self.items)
        return InConnection(variable, self.item_type, self.items)


@dataclass(frozen=True, slots=True)
class StepLink:
    """A field that costs a REST call, with the function that builds each value it can have."""

    name: str
    link: Link
    field: GraphQLField
    selected: Selected
    values: "dict[RestSource, BuiltValue]"


@dataclass(slots=True)
class Part:
    """How large an object is: its fields, and the bytes of their keys. Each object in it is counted by itself."""

    fields: int = 0
    keys: int = 0


@dataclass(frozen=True, slots=True)
class BuiltValue:
    """The function that builds a value from a body, the fields of the body that it reads, and the value's size."""

    function: str
    fields: RecordFields
    part: Part


@dataclass(slots=True)
class Writer:
    """Writes functions for one selection; ``names`` are the globals that they need.

    With ``cooperative``, the functions of whole bodies are generators: see `build_items`.
    """

    selection: Selection
    cooperative: bool = False
    functions: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=lambda: {"connection": connection, "build_items": build_items})
    steps: list[StepLink] = field(default_factory=list)
    items: dict[str, tuple[RecordFields, str]] = field(default_factory=dict)
    """By the name of its decoder, the list whose items it decodes."""
    _count: int = 0
    size: int = 0
    """How many fields were written."""
    part: Part = field(default_factory=Part)
    """The size of what is being written."""

    def root(self, of: GraphQLObjectType) -> str:
        """Write the function that builds the response's ``data``, in which every field is a gap; return its name."""
        built = self._object(self.selection.root(of), of, None)
        return self._function("root", "gaps", [f"return {built}"])

    def _object(self, grouped: GroupedFieldSet, of: GraphQLObjectType, place: Place | None) -> str:
        """Return the expression for an object of the response."""
        values: list[str] = []
        gaps: list[str] = []
        self.part.fields += len(grouped)
        self.part.keys += sum(map(len, grouped)) + _AROUND_A_KEY * len(grouped)
        self.size += len(grouped)
        if self.size > _MAX_FIELDS:
            raise NotPlannable("a document that is too large")
        for index, selected in enumerate(grouped.values()):
            name = selected[0].node.name.value
            link = link_of(of.fields[name]) if name in of.fields else None
            if link is None:
                values.append(self._plain(name, selected, of, place))
                continue
            values.append("None")
            parent = self._parent(link, place)
            gaps.append(f"gaps.append(({self._step(link, of.fields[name], selected)}, out, 'r{index}', {parent}))")
        built = f"{self._output(grouped)}({', '.join(values)})"
        return self._with_gaps(built, gaps, place) if gaps else built

    def _parent(self, link: Link, place: Place | None) -> str:
        """Return the expression for what the link takes of its parent."""
        if link.parent_key is None or place is None:
            return "None"
        text = place.read_text(link.parent_key)
        return text if link.size_key is None else f"({text}, {place.read_size(link.size_key)})"

    def _with_gaps(self, built: str, gaps: Iterable[str], place: Place | None) -> str:
        parameters = "gaps" if place is None else f"{place.variable}, gaps"  # type: ignore[attr-defined]  # both have it
        generator = isinstance(place, InRecord) and place.cooperative
        name = self._function("object", parameters, [f"out = {built}", *gaps, "return out"], generator=generator)
        return f"(yield from {name}({parameters}))" if generator else f"{name}({parameters})"

    def _plain(self, name: str, selected: Selected, of: GraphQLObjectType, place: Place | None) -> str:
        """Return the expression for a field that costs no call."""
        if name == "__typename":
            return repr(of.name)
        key = upstream_key(of.fields[name]) if name in of.fields else None
        if key is None or place is None:
            raise NotPlannable(f"the field {of.name}.{name}")
        return self._value(key, of.fields[name].type, selected, place)

    def _value(self, key: str, graphql_type: GraphQLOutputType, selected: Selected, place: Place) -> str:
        access = place.read(key, graphql_type)
        inner: Any = get_nullable_type(graphql_type)
        if not isinstance(inner, GraphQLList):
            if is_leaf_type(inner):
                return self._leaf(access, inner)
            return self._nullable(key, access, inner, selected, place)
        items: Any = inner.of_type
        if is_leaf_type(get_named_type(items)):
            return self._leaves(access, get_named_type(items))
        variable = self._new("v")
        of_items = replace(place, cooperative=False) if isinstance(place, InRecord) else place
        with self._part() as part:
            if isinstance(items, GraphQLNonNull):
                item = self._below(key, variable, items.of_type, selected, of_items)
            else:
                item = f"None if {variable} is None else {self._below(key, variable, items, selected, of_items)}"
        size = f"{part.fields}, {part.keys}"
        if isinstance(place, InRecord) and place.cooperative:
            decoder = self._item_decoder(place.fields, key)
            counted = f"gaps.take_one({size}) or ({item})"
            return f"(yield from build_items({access} or (), {decoder}, lambda {variable}: {counted}, gaps))"
        return f"[{item} for {variable} in gaps.take({access} or (), {size})]"

    @contextmanager
    def _part(self) -> Iterator[Part]:
        """Count what is written meanwhile on its own."""
        outer, self.part = self.part, Part()
        yield self.part
        self.part = outer

    def _leaf(self, access: str, leaf: Any) -> str:
        named = name_of(leaf)
        if named is None:
            return access
        variable = self._new("v")
        return f"None if ({variable} := {access}) is None else {self._names(leaf, named)}({variable})"

    def _leaves(self, access: str, leaf: Any) -> str:
        named = name_of(leaf)
        if named is None:
            return f"{access} or []"
        variable = self._new("v")
        item = f"None if {variable} is None else {self._names(leaf, named)}({variable})"
        return f"[{item} for {variable} in {access} or ()]"

    def _names(self, leaf: Any, named: NameOf) -> str:
        """Return the name of the function that names the values of an enumeration."""
        name = f"name_of_{leaf.name}"
        self.names[name] = named
        return name

    def _item_decoder(self, fields: RecordFields, key: str) -> str:
        name = self._new("decoder")
        fields.raw_lists.add(key)
        self.items[name] = (fields, key)
        return name

    def _nullable(self, key: str, access: str, of: Any, selected: Selected, place: Place) -> str:
        variable = self._new("v")
        with self._part() as part:
            built = self._below(key, variable, of, selected, place)
        counted = f"gaps.take_one({part.fields}, {part.keys}) or {built}"
        return f"None if ({variable} := {access}) is None else ({counted})"

    def _below(self, key: str, variable: str, of: Any, selected: Selected, place: Place) -> str:
        if not isinstance(of, GraphQLObjectType):
            raise NotPlannable(f"the type {of}")
        grouped = self.selection.below(selected, of)
        return self._object(grouped, of, place.below(key, variable, of.name))

    def _step(self, link: Link, of: GraphQLField, selected: Selected) -> str:
        name = self._new("step")
        values = {source: self._source(source, selected) for source in link.sources}
        self.steps.append(StepLink(name, link, of, selected, values))
        return name

    def _source(self, source: RestSource, selected: Selected) -> BuiltValue:
        """Write the function that builds a value from a body of ``source``."""
        of = self.selection.schema.type_map[source.type_name]
        if not isinstance(of, GraphQLObjectType):
            raise NotPlannable(f"the type {of}")
        fields = RecordFields()
        place = InRecord("body", fields, self.cooperative)
        grouped = self.selection.below(selected, of)
        with self._part() as part:
            if source.items is not None:
                built = self._connection(source, source.items, grouped, of, place)
            elif source.part is not None:
                built = self._nullable(source.part, place.read(source.part, of), of, selected, place)
            else:
                built = self._object(grouped, of, place)
        function = self._function("value", "body, page, gaps", [f"return {built}"], generator=self.cooperative)
        return BuiltValue(function, fields, part)

    def _connection(
        self, source: RestSource, items: str, grouped: GroupedFieldSet, of: GraphQLObjectType, place: InRecord
    ) -> str:
        item = self.selection.schema.type_map[source.item_type or ""]
        nodes = place.read(items, GraphQLList(GraphQLNonNull(item)))
        total = place.read(ITEMS_TOTAL, GraphQLInt)
        variable = self._new("v")
        built = self._object(grouped, of, InConnection(variable, item.name, place.fields.below[items]))
        fields = sorted(
            key
            for key in (upstream_key(of.fields[each[0].node.name.value]) for each in _known(grouped, of))
            if key is not None
        )
        record = f"connection({nodes} or [], {total}, page, {tuple(fields)!r})"
        return f"None if ({variable} := {record}) is None else {built}"

    def _output(self, keys: Iterable[str]) -> str:
        """Define the struct for an object of the response, with these keys in this order; return its name."""
        name = self._new("Output")
        self.names[name] = _output_type(tuple(keys))
        return name

    def _function(self, kind: str, parameters: str, body: list[str], *, generator: bool = False) -> str:
        name = self._new(kind)
        if generator:
            body = [*body, "yield"]  # never reached: it only turns the function into a generator
        self.functions.append(f"def {name}({parameters}):\n" + "".join(f"    {line}\n" for line in body))
        return name

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


@lru_cache(maxsize=256)  # many documents select the same of an object, and a type is twelve objects
def _output_type(keys: tuple[str, ...]) -> type[msgspec.Struct]:
    rename = {f"r{index}": key for index, key in enumerate(keys)}
    return msgspec.defstruct("Output", [(each, Any) for each in rename], gc=False, rename=rename)


def _known(grouped: GroupedFieldSet, of: GraphQLObjectType) -> list[Selected]:
    return [each for each in grouped.values() if each[0].node.name.value in of.fields]
