"""Which scopes an operation needs, so that a plan need not ask at each field."""

from graphql import GraphQLObjectType, get_named_type, is_abstract_type

from gateway.compat.graphql_core import GroupedFieldSet
from gateway.execution.selection import Selection
from gateway.schema.field_scopes import scope_of


def required_scopes(selection: Selection, root: GraphQLObjectType) -> frozenset[str]:
    """Return the scopes of all fields that ``selection`` has, whether or not their objects will be there."""
    found: set[str] = set()
    _collect(selection, selection.root(root), root, found)
    return frozenset(found)


def _collect(selection: Selection, grouped: GroupedFieldSet, of: GraphQLObjectType, found: set[str]) -> None:
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
                _collect(selection, selection.below(selected, member), member, found)
