"""What an operation selects: merged fields of an object type, in the order of the response (GraphQL spec, 6.3.2).

The collecting is graphql-core's own, so that fragments, merged fields, ``@skip`` and ``@include`` mean to a plan what
they mean to the reference. graphql-core calls those two functions internal: the property test of plans would notice
a change of theirs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    Node,
    OperationDefinitionNode,
    VariableNode,
)
from graphql.execution import VariableValues
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.language import Visitor, visit

_UNDERSTOOD = {GraphQLSkipDirective.name, GraphQLIncludeDirective.name}

Selected = FieldDetailsList
"""The occurrences of one response key, to be merged."""


class NotPlannable(Exception):
    """The operation uses something that no plan does. The reference executes it; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Selection:
    """An operation under one assignment of the variables that decide ``@skip`` and ``@include``."""

    schema: GraphQLSchema
    fragments: dict[str, FragmentDetails]
    operation: OperationDefinitionNode
    conditions: VariableValues

    def root(self, query: GraphQLObjectType) -> GroupedFieldSet:
        """Return what the operation selects of the root."""
        collected = collect_fields(self.schema, self.fragments, self.conditions, query, self.operation)
        return collected.grouped_field_set

    def below(self, selected: Selected, of: GraphQLObjectType) -> GroupedFieldSet:
        """Return what a field selects of its value, an object of the type ``of``."""
        collected = collect_subfields(self.schema, self.fragments, self.conditions, self.operation, of, selected)
        return collected.grouped_field_set


def select(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    conditions: Mapping[str, bool],
) -> Selection:
    """Return what ``operation`` selects where the variables in ``conditions`` have these values."""
    fragments = {
        each.name.value: FragmentDetails(each)
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    return Selection(schema, fragments, operation, VariableValues({}, dict(conditions)))


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
