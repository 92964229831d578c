"""The fields of an operation that cost a REST call, and what each loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLError, GraphQLField, GraphQLList, get_nullable_type
from graphql.execution import VariableValues, get_argument_values

from gateway.errors import GatewayError
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.links import Link, Loads, RestSource, python_arguments

Path: TypeAlias = tuple[str, ...]
"""The response keys of a field and of those around it, as in the ``path`` of an error but without the indices."""


@dataclass(frozen=True, slots=True, eq=False)
class CallField:
    """A field that costs a REST call for each of its parents."""

    link: Link
    field: GraphQLField
    node: FieldNode
    place: tuple[str, ...]
    """The fields between the root of the REST body that holds its parents and its parents."""
    times: int
    """How many parents there are at that place."""
    path: Path
    """Where it stands in the operation."""
    below: Mapping[RestSource, tuple["CallField", ...]]

    @property
    def is_list(self) -> bool:
        """Whether its value is a list, each item of which is loaded."""
        return isinstance(get_nullable_type(self.field.type), GraphQLList)

    @property
    def most_calls(self) -> int:
        """How many REST calls it takes for one parent at most, whatever the variables are; for one item of a list."""
        names = {each.name.value for each in self.node.arguments or ()}
        return 2 if self.link.tail_argument in names else 1


@dataclass(slots=True)
class Asker:
    """Asks the links of one operation's fields what they load."""

    context: OperationContext
    variables: VariableValues = field(repr=False)
    arguments: dict[CallField, dict[str, Any] | None] = field(default_factory=dict)
    """By field, its arguments, which are the same for each parent; None if they are refused."""

    def ask(self, call_field: CallField, text: Any, size: int | None = None) -> Loads:
        """Return what a field loads for a parent with this ``text`` and ``size``; None where it is refused."""
        if call_field not in self.arguments:
            self.arguments[call_field] = self._coerced(call_field)
        arguments = self.arguments[call_field]
        if arguments is None:
            return None
        link = call_field.link
        parent = None if link.parent_key is None else text
        try:
            return link.ask(self.context, parent if link.size_key is None else (parent, size), **arguments)
        except (GatewayError, GraphQLError):
            return None

    def _coerced(self, call_field: CallField) -> dict[str, Any] | None:
        try:
            return python_arguments(
                call_field.field, get_argument_values(call_field.field, call_field.node, self.variables)
            )
        except GraphQLError:
            return None
