"""A plan: an operation compiled to decoders of what is selected, and to functions that build the response.

    root ──gaps──▶ load, all at the same time ──bodies──▶ decode ─▶ build ──gaps──▶ load …

A plan does the ordinary case and no other. Whatever is unusual (an error of a call, a value that is not of the exact
type, arguments that are refused) raises. Then the reference executes the operation, and the loaders already hold the
bodies that the plan loaded. So a plan never produces an error of its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import msgspec
from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    VariableNode,
    get_named_type,
    is_abstract_type,
)
from graphql.execution import VariableValues, get_argument_values

from gateway.compat.graphql_core import GroupedFieldSet
from gateway.errors import GatewayError
from gateway.execution.plans.codegen import Part, StepLink, Writer
from gateway.execution.plans.gaps import Gaps, Room
from gateway.execution.selection import Selection, has_variable
from gateway.schema.field_scopes import scope_of
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.cooperative import run_cooperatively
from gateway.schema.resolvers.links import Link, Load, RestSource, python_arguments
from gateway.schema.resolvers.pagination import Page
from gateway.schema.resolvers.records import RestBody

Build: TypeAlias = Callable[[Any, Page | None, Gaps], Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """How a value is built from a REST body: the body is decoded, and then the value is built."""

    decoder: msgspec.json.Decoder[Any]
    build: Build
    part: Part
    """The size of the value without what is counted when it is built."""
    repeats: int
    """How many times the value has a text of the body at most."""

    def project(self, body: RestBody, page: Page | None, gaps: Gaps) -> Any:
        """Return the value; in a cooperative plan, a generator of it for `run_cooperatively`.

        Raises ResponseTooLarge, and msgspec's errors or UnicodeDecodeError for a body of another form.
        """
        body.require_text()
        gaps.take_one(self.part.fields, self.part.keys)
        return self.build(self.decoder.decode(body.content), page, gaps)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A field that costs a REST call for each of its parents."""

    index: int
    link: Link
    field: GraphQLField
    node: FieldNode
    constant: dict[str, Any] | None
    """The arguments, if none of them is a variable."""
    variable: tuple[str, str] | None
    """The argument's Python name and the variable's name, if there is one argument and it is a variable."""
    projections: dict[RestSource, Projection]

    def arguments(self, variables: VariableValues) -> dict[str, Any]:
        """Return the arguments by their Python names; raise GraphQLError if they are wrong."""
        if self.constant is not None:
            return self.constant
        if self.variable is not None:
            name, variable = self.variable
            value = variables.coerced.get(variable)
            if value is not None:  # validation has checked that the variable's type fits the argument's
                return {name: value}
        return python_arguments(self.field, get_argument_values(self.field, self.node, variables))


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled operation. ``source`` is the generated Python, for debugging."""

    root: Callable[[Gaps], Any]
    steps: tuple[Step, ...]
    source: str
    scopes: frozenset[str]
    """A caller without all of these is answered by the reference, which withholds the fields that need them."""
    cooperative: Callable[[], "Plan"]
    """Return the same plan in the form for large bodies, compiled when it is first needed."""
    size: int
    """How many fields it has. Its memory is proportional to that."""
    part: Part
    """The size of the root object."""

    async def run(self, context: OperationContext, variables: VariableValues) -> Any:
        """Return the response's ``data``, as msgspec encodes it; raise any exception for the unusual case."""
        room = Room(context.budget.limits)
        gaps = room.gaps(1)
        gaps.take_one(self.part.fields, self.part.keys)
        data = room.take(self.root(gaps), 0, gaps, 1)
        if gaps:
            run = _Run(self, context, room, [step.arguments(variables) for step in self.steps])
            await run.fill(gaps, 1)
        return data


class _Run:
    """One execution of a plan."""

    def __init__(self, plan: Plan, context: OperationContext, room: Room, arguments: list[dict[str, Any]]) -> None:
        self._plan = plan
        self._context = context
        self._room = room
        self._arguments = arguments

    async def fill(self, gaps: Gaps, times: int) -> None:
        """Load the values of the gaps, and of the gaps in those, all at the same time.

        The response has the value with these gaps so many ``times``.
        """
        loads = [load for gap in gaps for load in self._loads(*gap)]
        if len(loads) == 1:
            await self._load(*loads[0], times)
            return
        tasks = [asyncio.create_task(self._load(*load, times)) for load in loads]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _loads(self, step: Step, into: Any, at: str, parent: Any) -> list[tuple[Step, Any, Any, Load]]:
        loads = step.link.ask(self._context, parent, **self._arguments[step.index])
        if loads is None:
            return []
        if isinstance(loads, Load):
            return [(step, into, at, loads)]
        values: list[Any] = [None] * loads.size
        setattr(into, at, values)
        return [(step, values, places, _accepted(load)) for load, places in loads.places.items()]

    async def _load(self, step: Step, into: Any, at: Any, load: Load, times: int) -> None:
        pace = self._context.pace
        body = await load.body(self._context.loaders)
        if load.tail is not None and body is not None:
            await pace.turn()
            load, body = await load.tail_body(self._context.loaders, body)
        if body is None:
            return
        await pace.turn()
        if isinstance(into, list):
            times *= len(at)
        gaps = self._room.gaps(times)
        plan = self._plan.cooperative() if body.is_large else self._plan
        projection = plan.steps[step.index].projections[load.source]
        try:
            value = projection.project(body, load.page, gaps)
            if body.is_large:
                value = await run_cooperatively(value, pace)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if load.source.route is not None:
                self._context.loaders.suspect(load.source.route, load.key, body)
            raise
        value = self._room.take(value, len(body.content) * projection.repeats, gaps, times)
        if isinstance(into, list):
            for index in at:
                into[index] = value
        else:
            setattr(into, at, value)
        if gaps:
            await self.fill(gaps, times)


def _accepted(load: Load | GatewayError) -> Load:
    if isinstance(load, GatewayError):
        raise load
    return load


def compile_plan(selection: Selection, *, cooperative: bool = False) -> Plan:
    """Return the plan for a selection; raise NotPlannable if there can be none.

    With ``cooperative`` it has the form for large bodies, which yields to other operations.
    """
    of = selection.root_type
    writer = Writer(selection, cooperative=cooperative)
    root = writer.root(of)
    source = "\n".join(writer.functions)
    names = dict(writer.names)
    exec(compile(source, "<plan>", "exec"), names)  # noqa: S102 - the source is ours: see `codegen`
    steps = tuple(_step(index, step, names) for index, step in enumerate(writer.steps))
    names.update({step.name: compiled for step, compiled in zip(writer.steps, steps, strict=True)})
    names.update({name: msgspec.json.Decoder(fields.item(key)) for name, (fields, key) in writer.items.items()})
    form_for_large = cache(partial(compile_plan, selection, cooperative=True))
    scopes = _required_scopes(selection, of)
    return Plan(names[root], steps, source, scopes, form_for_large, writer.size, writer.part)


def _step(index: int, step: StepLink, names: dict[str, Any]) -> Step:
    node = step.selected[0].node
    constant = None
    if not has_variable(node.arguments or ()):
        constant = python_arguments(step.field, get_argument_values(step.field, node))
    projections = {
        source: Projection(
            msgspec.json.Decoder(each.fields.struct()), names[each.function], each.part, each.fields.repeats
        )
        for source, each in step.values.items()
    }
    return Step(index, step.link, step.field, node, constant, _only_variable(step.field, node), projections)


def _only_variable(field: GraphQLField, node: FieldNode) -> tuple[str, str] | None:
    match node.arguments:
        case (ArgumentNode(name=name, value=VariableNode(name=variable)),) if len(field.args) == 1:
            (python_name,) = python_arguments(field, {name.value: None})
            return python_name, variable.value
    return None


def _required_scopes(selection: Selection, root: GraphQLObjectType) -> frozenset[str]:
    """Return the scopes of all selected fields, so that a plan checks them once and not at each field."""
    found: set[str] = set()
    _collect_scopes(selection, selection.root(root), root, found)
    return frozenset(found)


def _collect_scopes(selection: Selection, grouped: GroupedFieldSet, of: GraphQLObjectType, found: set[str]) -> None:
    for selected in grouped.values():
        field = of.fields.get(selected[0].node.name.value)
        if field is None:  # `__typename` and the like
            continue
        scope = scope_of(field)
        if scope is not None:
            found.add(scope)
        named = get_named_type(field.type)
        members = selection.schema.get_possible_types(named) if is_abstract_type(named) else [named]
        for member in members:
            if isinstance(member, GraphQLObjectType):
                _collect_scopes(selection, selection.below(selected, member), member, found)
