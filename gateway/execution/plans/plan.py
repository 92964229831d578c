"""A plan: an operation compiled to decoders of what is selected, and to functions that build the response.

    root ──gaps──▶ load, all at the same time ──documents──▶ decode ─▶ build ──gaps──▶ load …

A plan does the ordinary case and no other. Whatever is unusual (an error of a call, a value that is not of the exact
type, arguments that are refused) raises, and the reference executes the operation on what the loaders hold by then.
So a plan never makes an error of its own, and never has to be right about one.

One thing is seen otherwise than by the reference: a number too large for any program (``1e999``) in a field that is
not selected. The reference, which decodes the whole body, cannot read such an answer; a plan never looks at it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import msgspec
from graphql import ArgumentNode, FieldNode, GraphQLField, GraphQLObjectType, VariableNode
from graphql.execution import VariableValues, get_argument_values

from gateway.errors import GatewayError
from gateway.execution.plans.codegen import StepLink, Writer
from gateway.execution.plans.scopes import required_scopes
from gateway.execution.selection import NotPlannable, Selection, has_variable
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.cooperative import run_in_turns
from gateway.schema.resolvers.links import Link, Load, RestSource, python_arguments
from gateway.schema.resolvers.pagination import Page

Gap: TypeAlias = tuple["Step", Any, Any, str | None]
"""A value that has to be loaded: its step, the struct or list it belongs into, where in there, its parent's text."""

Build: TypeAlias = Callable[[Any, Page | None, list[Gap]], Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """How a value is made from a document: decoded, and then built."""

    decoder: msgspec.json.Decoder[Any]
    build: Build

    def project(self, body: bytes, page: Page | None, wait: list[Gap]) -> Any:
        """Return the value; raise msgspec's errors or UnicodeDecodeError for a body that is not as promised.

        In the form of a plan that takes turns, the value is what `run_in_turns` returns.
        """
        if not body.isascii():
            # msgspec checks the text that it keeps, and passes over the rest: the reference would refuse this body.
            body.decode()
        return self.build(self.decoder.decode(body), page, wait)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A field that costs a REST call for each of its parents."""

    index: int
    link: Link
    field: GraphQLField
    node: FieldNode
    constant: dict[str, Any] | None
    """The arguments, where no variable is among them."""
    variable: tuple[str, str] | None
    """The argument's Python name and the variable's, where there is one argument and it is a variable."""
    projections: dict[RestSource, Projection]

    def arguments(self, variables: VariableValues) -> dict[str, Any]:
        """Return the arguments by their Python names; raise GraphQLError where they are wrong."""
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
    """A compiled operation. ``source`` is the generated Python, for people who want to see it."""

    root: Callable[[list[Gap]], Any]
    steps: tuple[Step, ...]
    source: str
    scopes: frozenset[str]
    """Whoever has not all of these is answered by the reference, which knows what to withhold."""
    for_large: Callable[[], "Plan"]
    """The same plan in the form for large documents: compiled when it is first wanted."""
    size: int
    """How many fields it has: what it takes in memory goes with that."""

    async def run(self, context: OperationContext, variables: VariableValues) -> Any:
        """Return the response's ``data``, as msgspec encodes it; raise any exception for the unusual case."""
        wait: list[Gap] = []
        data = self.root(wait)
        if wait:
            run = _Run(self, context, [step.arguments(variables) for step in self.steps])
            await run.fill(wait)
        return data


class _Run:
    """One execution of a plan."""

    def __init__(self, plan: Plan, context: OperationContext, arguments: list[dict[str, Any]]) -> None:
        self._plan = plan
        self._context = context
        self._arguments = arguments

    async def fill(self, wait: list[Gap]) -> None:
        """Load what belongs into the gaps, and into the gaps of that, all at the same time."""
        loads = [load for gap in wait for load in self._loads(*gap)]
        if len(loads) == 1:
            await self._load(*loads[0])
            return
        tasks = [asyncio.create_task(self._load(*load)) for load in loads]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _loads(self, step: Step, into: Any, at: str, text: str | None) -> list[tuple[Step, Any, Any, Load]]:
        asked = step.link.ask(self._context, text, **self._arguments[step.index])
        if asked is None:
            return []
        if isinstance(asked, Load):
            return [(step, into, at, asked)]
        values: list[Any] = [None] * len(asked)
        setattr(into, at, values)
        return [(step, values, index, _accepted(each)) for index, each in enumerate(asked)]

    async def _load(self, step: Step, into: Any, at: Any, load: Load) -> None:
        document = await load.source.loader(self._context.loaders).load(load.key)
        if document is None:
            return
        wait: list[Gap] = []
        if not document.is_large:
            value = self._plan.steps[step.index].projections[load.source].project(document.body, load.page, wait)
        else:
            large = self._plan.for_large().steps[step.index].projections[load.source]
            value = await run_in_turns(large.project(document.body, load.page, wait))
        if isinstance(into, list):
            into[at] = value
        else:
            setattr(into, at, value)
        if wait:
            await self.fill(wait)


def _accepted(load: Load | GatewayError) -> Load:
    if isinstance(load, GatewayError):
        raise load
    return load


def compile_plan(selection: Selection, *, takes_turns: bool = False) -> Plan:
    """Return the plan for a selection; raise NotPlannable where there can be none.

    With ``takes_turns`` it is in the form for large documents.
    """
    query = selection.schema.query_type
    if not isinstance(query, GraphQLObjectType):
        raise NotPlannable("a schema without queries")
    writer = Writer(selection, takes_turns=takes_turns)
    root = writer.root(query)
    source = "\n".join(writer.functions)
    names = dict(writer.names)
    exec(compile(source, "<plan>", "exec"), names)  # noqa: S102 - the source is ours: see `codegen`
    steps = tuple(_step(index, step, names) for index, step in enumerate(writer.steps))
    names.update({step.name: compiled for step, compiled in zip(writer.steps, steps, strict=True)})
    names.update({name: msgspec.json.Decoder(shape.item(key)) for name, (shape, key) in writer.items.items()})
    for_large = cache(partial(compile_plan, selection, takes_turns=True))
    return Plan(names[root], steps, source, required_scopes(selection, query), for_large, writer.size)


def _step(index: int, step: StepLink, names: dict[str, Any]) -> Step:
    node = step.selected[0].node
    constant = None
    if not has_variable(node.arguments or ()):
        constant = python_arguments(step.field, get_argument_values(step.field, node))
    projections = {
        source: Projection(msgspec.json.Decoder(shape.struct()), names[function])
        for source, (function, shape) in step.values.items()
    }
    return Step(index, step.link, step.field, node, constant, _only_variable(step.field, node), projections)


def _only_variable(field: GraphQLField, node: FieldNode) -> tuple[str, str] | None:
    match node.arguments:
        case (ArgumentNode(name=name, value=VariableNode(name=variable)),) if len(field.args) == 1:
            (python_name,) = python_arguments(field, {name.value: None})
            return python_name, variable.value
    return None
