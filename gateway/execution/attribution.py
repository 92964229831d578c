"""Which fields of an operation each of its REST calls fed, and where the id in its path came from.

Nothing is noted while an operation runs, so that operations which nobody explains pay nothing. Afterwards the fields
that cost a call are followed through the bodies that the loaders hold, as an executor follows them. A call that a
resolver makes by itself has the field in its report. Any other is attributed by its route.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import (
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    OperationType,
    VariableNode,
    get_named_type,
    get_nullable_type,
)

from gateway.errors import GatewayError
from gateway.execution.cost.call_fields import Asker, CallField, Path
from gateway.execution.cost.estimate import CallsOfOperation
from gateway.schema.resolvers.links import Load, SeveralLoads
from gateway.schema.resolvers.records import (
    Record,
    RestBody,
    read_integer,
    read_object,
    read_objects,
    read_text,
    upstream_key,
)
from gateway.upstream.call import CallReport
from gateway.upstream.contract import Read

MAX_CALLS = 1000
"""How many calls are explained."""
MAX_FIELDS = 20
"""How many fields of one call are named."""


class _Parent(NamedTuple):
    """A record that fields are loaded for, and where it stands in the response, with indices."""

    record: Record | None
    at: str
    of: GraphQLObjectType | None


@dataclass(slots=True)
class _Fed:
    """What is known of the calls with one target."""

    path: str
    fields: dict[Path, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Follower:
    """Follows the fields that cost a call through the bodies that were loaded."""

    schema: GraphQLSchema
    asker: Asker
    bodies: Mapping[Any, RestBody] = field(repr=False)
    found: dict[tuple[Read, str], _Fed] = field(default_factory=dict)
    followed: set[tuple[CallField, Load]] = field(default_factory=set)

    def follow(self, fields: Sequence[CallField], parent: _Parent, skipped: int, depth: int) -> None:
        """Note the calls of ``fields`` for their parents in a record.

        ``skipped`` is how many steps of a place are no fields, and ``depth`` how long the record's own path is.
        """
        for call_field in fields:
            steps = list(zip(call_field.place[skipped:], call_field.path[depth:-1], strict=False))
            for found in _parents(parent, steps):
                with suppress(GatewayError):
                    self._note(call_field, found)

    def _note(self, call_field: CallField, parent: _Parent) -> None:
        link, record = call_field.link, parent.record
        key = link.parent_key
        text = None if key is None or record is None else read_text(record, key)
        size = None if link.size_key is None or record is None else read_integer(record, link.size_key)
        at = f"{parent.at}.{call_field.path[-1]}" if parent.at else call_field.path[-1]
        loads = self.asker.ask(call_field, text, size if isinstance(size, int) else None)
        if isinstance(loads, SeveralLoads):
            for load, places in loads.places.items():
                if isinstance(load, Load):
                    with suppress(GatewayError):
                        origin = _argument(call_field, at, places[0])
                        self._load(call_field, load, f"{at}[{places[0]}]", origin)
        elif loads is not None:
            origin = _argument(call_field, at, None) if key is None else f"{parent.at}.{_name(parent, key)}"
            self._load(call_field, loads, at, origin)

    def _load(self, call_field: CallField, load: Load, at: str, origin: str) -> None:
        route = load.source.route
        if route is None or (call_field, load) in self.followed:
            return
        self.followed.add((call_field, load))
        body = self._called(call_field, load, route, origin)
        second = None
        if body is not None and load.page is not None and load.tail is not None:
            second = load.tail.second_page(load.page, *load.extent(body))
        if second is not None:
            load = load._replace(page=second)
            body = self._called(call_field, load, route, origin)
        of = self.schema.type_map[load.source.type_name]
        if body is None or not isinstance(of, GraphQLObjectType):
            return
        value = load.source.value(body.record(), load.page)
        skipped = 0 if load.source.part is None else 1
        self.follow(call_field.below[load.source], _Parent(value, at, of), skipped, len(call_field.path))

    def _called(self, call_field: CallField, load: Load, route: Read, origin: str) -> RestBody | None:
        """Note a call, and return its body; None where there is none, or none that is small."""
        identifier, page = load.key
        target = route.target(identifier, {} if page is None else page.query)
        shown = _shown(route, origin) + target[len(route.path(identifier)) :]
        self.found.setdefault((route, target), _Fed(shown)).fields[call_field.path] = None
        return self._body(route, load)

    def _body(self, route: Read, load: Load) -> RestBody | None:
        body = self.bodies.get((route, load.key))
        return None if body is None or body.is_large else body


def explain_calls(calls: CallsOfOperation, schema: GraphQLSchema, asker: Asker) -> list[dict[str, Any]]:
    """Return each REST call of an operation as JSON, in the order of their starts; docs/http.md describes them.

    It is called while the loaders of the operation are open.
    """
    context = asker.context
    follower = _Follower(schema, asker, context.loaders.bodies)
    follower.follow(calls.fields, _Parent(None, "", None), 0, 0)
    shown = []
    is_mutation, root = context.execution.type == OperationType.MUTATION.value, None
    reports = sorted(context.reports, key=lambda report: report.started)[:MAX_CALLS]
    of_reports = _matched(reports, follower.found)
    for report, fed in zip(reports, of_reports, strict=True):
        if report.cause is not None and is_mutation:
            root = report.cause[0]
        fields = _candidates(calls, report.route, root) if fed is None else list(fed.fields)
        if report.cause is not None:
            fields = [report.cause] if fed is None else [*fields, report.cause]
        entry = report.as_dict()
        entry["path"] = report.route if fed is None else fed.path
        entry["startMs"] = round(max(0.0, report.started - context.execution.began) * 1000, 1)
        entry["fields"] = [list(each) for each in fields[:MAX_FIELDS]]
        if len(fields) > MAX_FIELDS:
            entry["moreFields"] = len(fields) - MAX_FIELDS
        if report.problem:
            entry["problem"] = report.problem
        if report.circuit_open:
            entry["circuit"] = "open"
        shown.append(entry)
    return shown


def _candidates(calls: CallsOfOperation, route: str, root: str | None) -> list[Path]:
    """Return the fields that may have caused a call of a route; ``root`` is the mutation that was under way.

    A field at the root is the cause in a report, or was followed.
    """
    return [path for path in calls.by_route.get(route, ()) if len(path) > 1 and root in {None, path[0]}]


def _matched(reports: Sequence[CallReport], found: dict[tuple[Read, str], _Fed]) -> list[_Fed | None]:
    """Return what is known of each report."""
    known = {(route.template, target): fed for (route, target), fed in found.items()}
    return [known.get((each.route, each.target)) if each.method == Read.method else None for each in reports]


def _parents(parent: _Parent, steps: Sequence[tuple[str, str]]) -> Iterator[_Parent]:
    """Yield the records at a place inside a record. A step is the name of a field, and its response key."""
    if not steps:
        yield parent
        return
    (name, response_key), *rest = steps
    if parent.record is None or parent.of is None:
        return
    graphql_field = parent.of.fields[name]
    key, of = upstream_key(graphql_field), get_named_type(graphql_field.type)
    if key is None or not isinstance(of, GraphQLObjectType):
        return
    at = f"{parent.at}.{response_key}"
    if isinstance(get_nullable_type(graphql_field.type), GraphQLList):
        items = [(_object({key: item}, key), f"{at}[{index}]") for index, item in _items(parent.record, key)]
    else:
        items = [(_object(parent.record, key), at)]
    for record, here in items:
        if record is not None:
            yield from _parents(_Parent(record, here, of), rest)


def _object(record: Record, key: str) -> Record | None:
    with suppress(GatewayError):
        return read_object(record, key)
    return None


def _items(record: Record, key: str) -> Iterator[tuple[int, Any]]:
    with suppress(GatewayError):
        yield from enumerate(read_objects(record, key))


def _argument(call_field: CallField, at: str, index: int | None) -> str:
    """Return which variable, or else which argument, has the id."""
    place = "" if index is None else f"[{index}]"
    for argument in call_field.node.arguments or ():
        if isinstance(argument.value, VariableNode):
            return f"${argument.value.name.value}{place}"
        return f"{at}({argument.name.value}{place})"
    return at


def _name(parent: _Parent, key: str) -> str:
    fields = {} if parent.of is None else parent.of.fields
    return next((name for name, each in fields.items() if upstream_key(each) == key), key)


def _shown(route: Read, origin: str) -> str:
    """Return the route with the origin of its id in place of the parameter."""
    return route.template.replace(f"{{{route.parameter}}}", f"{{{origin}}}")
