"""The variables of an operation, coerced as graphql-core does it.

graphql-core works out the types of the variables anew for every request. That is a third of a small plan's time, so
values that are plainly right (a string for an ``ID!``, a list of them for ``[ID!]!``) are taken as they are.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution import VariableValues, get_variable_values

from gateway.compat.graphql_core import variable_signatures, variable_values

IsPlain: TypeAlias = Callable[[Any], bool]

# By scalar: whether coercion would return the very same value. Of exact types: bool is an int to Python.
_PLAIN: dict[str, IsPlain] = {
    "_Any": lambda value: value is not None,
    "ID": lambda value: type(value) is str,
    "String": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT,
}


class Variables:
    """Coerces the variables of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._plain = [(each, _is_plain(each.type)) for each in variable_signatures(schema, operation)]

    def coerce(self, inputs: dict[str, Any]) -> VariableValues | None:
        """Return the values, None where the inputs are wrong."""
        assigned = [(signature, inputs.get(signature.name)) for signature, _ in self._plain]
        if all(is_plain(value) for (_, is_plain), (_, value) in zip(self._plain, assigned, strict=True)):
            return variable_values(assigned)
        return self._coerce_any(inputs)

    def _coerce_any(self, inputs: dict[str, Any]) -> VariableValues | None:
        # That one is wrong is enough to know here: whoever has to say what is wrong coerces them anew.
        values = get_variable_values(self._schema, self._definitions, inputs, max_errors=0)
        return values if isinstance(values, VariableValues) else None


def _is_plain(graphql_type: Any) -> IsPlain:
    nullable = graphql_type.of_type if isinstance(graphql_type, GraphQLNonNull) else graphql_type
    if isinstance(nullable, GraphQLList):
        is_plain_item = _is_plain(nullable.of_type)
        return lambda value: type(value) is list and all(map(is_plain_item, value))
    return _PLAIN.get(str(nullable), lambda _value: False)
