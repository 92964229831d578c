"""The variables of an operation, coerced as graphql-core coerces them.

graphql-core works out the types of the variables at each request, which is a third of a small plan's time. So a value
that coercion does not change (a string for an ``ID!``, a list of strings for ``[ID!]!``) is taken as it is.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLError,
    GraphQLList,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_input_object_type,
    is_leaf_type,
)
from graphql.execution import VariableValues, get_variable_values

from gateway.compat.graphql_core import variable_signatures, variable_values
from gateway.errors import BadUserInput, RequestError
from gateway.schema.scalars import is_int64

IsPlain: TypeAlias = Callable[[Any], bool]

# By scalar: whether coercion returns the very same value. The types are exact, since a bool is an int in Python.
_PLAIN: dict[str, IsPlain] = {
    "_Any": lambda value: value is not None,
    "ID": lambda value: type(value) is str,
    "String": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT,
}


class VariableCoercer:
    """Coerces the variables of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._signatures = variable_signatures(schema, operation)
        self._checks = [(each.name, _is_plain(each.type)) for each in self._signatures]
        lists = [each for each in self._signatures if isinstance(get_nullable_type(each.type), GraphQLList)]
        self._leaves = {each.name for each in self._signatures if is_leaf_type(get_nullable_type(each.type))}
        is_entities = {each.name: str(get_named_type(each.type)) == "_Any" for each in lists}
        self.lists = tuple(name for name, entities in is_entities.items() if not entities)
        """The names of the variables that are lists, but not of representations."""
        self.representations = tuple(name for name, entities in is_entities.items() if entities)
        """The names of the variables that are lists of representations: a router may repeat an entity there."""

    def coerce(self, inputs: dict[str, Any]) -> VariableValues | None:
        """Return the values, None if the inputs are wrong."""
        values: dict[str, Any] = {}
        for name, is_plain in self._checks:
            value = values[name] = inputs.get(name)
            if not is_plain(value):
                return self._coerce_any(inputs)
        return variable_values(self._signatures, values)

    def too_large(self, inputs: dict[str, Any]) -> str | None:
        """Return the name of a variable with an integer of more than 64 bits, None if there is none.

        The representations of entities are not searched: only their keys become texts, and those are checked there. Nor
        is a list or an object in place of a scalar: it is refused.
        """
        for name, is_plain in self._checks:
            value = inputs.get(name)
            if type(value) is str or is_plain(value) or (name in self._leaves and isinstance(value, (list, dict))):
                continue
            if _has_large_integer(value):
                return name
        return None

    def without_place(self, uploads: Iterable[str]) -> str | None:
        """Return the name of a variable that has an uploaded file and cannot take one, None if there is none.

        It is not declared, or is of a scalar that may not look into its values. What is in an input object is coerced.
        """
        types = {each.name: get_named_type(each.type) for each in self._signatures}
        takers = {name for name, of in types.items() if is_input_object_type(of) or str(of) == "Upload"}
        return next((name for name in sorted(uploads) if name not in takers), None)

    def _coerce_any(self, inputs: dict[str, Any]) -> VariableValues | None:
        # One error is enough to know that they are wrong. The reference executor coerces them again and lists all.
        coerced = get_variable_values(self._schema, self._definitions, inputs, max_errors=0)
        return coerced if isinstance(coerced, VariableValues) else None


class Variables:
    """The variables of one request, coerced once, when they are first needed."""

    __slots__ = ("_coercer", "_inputs", "_values")

    def __init__(self, coercer: VariableCoercer, inputs: dict[str, Any] | None) -> None:
        self._coercer: VariableCoercer | None = coercer
        self._inputs = inputs or {}
        self._values: VariableValues | None = None

    def require_places(self, uploads: Iterable[str]) -> None:
        """Raise RequestError if a variable that has an uploaded file cannot take one."""
        if uploads and self._coercer is not None:
            name = self._coercer.without_place(uploads)
            if name is not None:
                message = (
                    f"The variable ${name} has an uploaded file, but is not declared as one: its type is no `Upload`."
                )
                raise RequestError([GraphQLError(message)], BadUserInput.code)

    @property
    def values(self) -> VariableValues | None:
        """The coerced values, None if the inputs are wrong."""
        if self._coercer is not None:
            self._values = self._coercer.coerce(self._inputs)
            self._coercer = None
        return self._values


def _has_large_integer(value: Any) -> bool:
    # Without recursion: a variable may be nested as deeply as a request's body allows.
    values = [value]
    while values:
        match values.pop():
            case int() as number if not is_int64(number):
                return True
            case list() as items:
                values.extend(items)
            case dict() as fields:
                values.extend(fields.values())
    return False


def _is_plain(graphql_type: Any) -> IsPlain:
    nullable = get_nullable_type(graphql_type)
    if isinstance(nullable, GraphQLList):
        is_plain_item = _is_plain(nullable.of_type)
        return lambda value: type(value) is list and all(map(is_plain_item, value))
    return _PLAIN.get(str(nullable), lambda _value: False)
