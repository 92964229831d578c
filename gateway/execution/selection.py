"""What an operation selects: merged fields of an object type, in the order of the response (GraphQL spec, 6.3.2).

The collecting is graphql-core's own, so that fragments, merged fields, ``@skip`` and ``@include`` mean to a plan what
they mean to the reference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    Node,
    OperationDefinitionNode,
    VariableNode,
)
from graphql.execution import VariableValues
from graphql.language import Visitor, visit

from gateway.compat.graphql_core import (
    FieldDetailsList,
    Fragments,
    GroupedFieldSet,
    collected_fields,
    collected_subfields,
    fragments_of,
    variables_of_conditions,
)

_UNDERSTOOD = {GraphQLSkipDirective.name, GraphQLIncludeDirective.name}

Selected = FieldDetailsList
"""The occurrences of one response key, to be merged."""


class NotPlannable(Exception):
    """The operation uses something that no plan does. The reference executes it; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Selection:
    """An operation under one assignment of the variables that decide ``@skip`` and ``@include``."""

    schema: GraphQLSchema
    fragments: Fragments
    operation: OperationDefinitionNode
    conditions: VariableValues

    def root(self, query: GraphQLObjectType) -> GroupedFieldSet:
        """Return what the operation selects of the root."""
        return collected_fields(self.schema, self.fragments, self.conditions, self.operation, query)

    def below(self, selected: Selected, of: GraphQLObjectType) -> GroupedFieldSet:
        """Return what a field selects of its value, an object of the type ``of``."""
        return collected_subfields(self.schema, self.fragments, self.conditions, self.operation, of, selected)


def select(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    conditions: Mapping[str, bool],
) -> Selection:
    """Return what ``operation`` selects where the variables in ``conditions`` have these values."""
    return Selection(schema, fragments_of(document), operation, variables_of_conditions(conditions))


def condition_variables(document: DocumentNode) -> tuple[str, ...]:
    """Return the variables that decide a ``@skip`` or an ``@include``; raise NotPlannable for other directives."""
    finder = _Directives()
    visit(document, finder)
    return tuple(sorted(finder.variables))


class _Directives(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        if node.name.value not in _UNDERSTOOD:
            raise NotPlannable("a directive other than @skip and @include")
        self.variables |= {
            each.value.name.value for each in node.arguments or () if isinstance(each.value, VariableNode)
        }


def has_variable(nodes: Iterable[Node]) -> bool:
    """Return whether a variable occurs in one of ``nodes``."""
    finder = _Variables()
    for node in nodes:
        visit(node, finder)
    return finder.found


class _Variables(Visitor):
    found = False

    def enter_variable(self, *_: object) -> None:
        self.found = True
