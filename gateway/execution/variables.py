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
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValueSource

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
        found = [get_variable_signature(schema, each) for each in self._definitions]
        signatures = [each for each in found if isinstance(each, GraphQLVariableSignature)]
        self._plain = [(each.name, each, _is_plain(each.type)) for each in signatures]

    def coerce(self, inputs: dict[str, Any]) -> VariableValues | None:
        """Return the values, None where the inputs are wrong."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, signature, is_plain in self._plain:
            value = inputs.get(name)
            if not is_plain(value):
                return self._coerce_any(inputs)
            sources[name] = VariableValueSource(signature, value)
            coerced[name] = value
        return VariableValues(sources, coerced)

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
