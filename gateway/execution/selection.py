"""What an operation selects: the merged fields of an object type, in the order of the response (GraphQL spec, 6.3.2).

graphql-core collects the fields, so that fragments, merged fields, ``@skip`` and ``@include`` mean the same to plans
and costs as to the reference executor.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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

_CONDITIONAL = {GraphQLSkipDirective.name, GraphQLIncludeDirective.name}

Selected: TypeAlias = FieldDetailsList
"""The occurrences of one response key, to be merged."""

Conditions: TypeAlias = tuple[Any, ...]
"""The values of the variables in ``@skip`` and ``@include``: operations with equal values select the same fields."""


class NotPlannable(Exception):
    """The operation uses something that plans do not support. The reference executes it; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Selection:
    """An operation with fixed values of the variables in ``@skip`` and ``@include``."""

    schema: GraphQLSchema
    fragments: Fragments
    operation: OperationDefinitionNode
    conditions: VariableValues

    @property
    def root_type(self) -> GraphQLObjectType:
        """The root: ``Query`` or ``Subscription``. NotPlannable where the schema has no such type."""
        of = self.schema.get_root_type(self.operation.operation)
        if of is None:
            raise NotPlannable("a schema without this kind of operation")
        return of

    def root(self, of: GraphQLObjectType) -> GroupedFieldSet:
        """Return what the operation selects of the root."""
        return collected_fields(self.schema, self.fragments, self.conditions, self.operation, of)

    def below(self, selected: Selected, of: GraphQLObjectType) -> GroupedFieldSet:
        """Return what a field selects of its value, an object of the type ``of``."""
        return collected_subfields(self.schema, self.fragments, self.conditions, self.operation, of, selected)


def select(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    conditions: Mapping[str, bool],
) -> Selection:
    """Return what ``operation`` selects if the variables have the values in ``conditions``."""
    return Selection(schema, fragments_of(document), operation, variables_of_conditions(conditions))


@dataclass(frozen=True, slots=True)
class ConditionalOperation:
    """An operation whose selection depends on the variables in its ``@skip`` and ``@include``."""

    schema: GraphQLSchema
    document: DocumentNode
    node: OperationDefinitionNode
    names: tuple[str, ...]
    """The names of those variables."""

    @classmethod
    def of(cls, schema: GraphQLSchema, document: DocumentNode, node: OperationDefinitionNode) -> "ConditionalOperation":
        """Return the operation ``node``; raise NotPlannable if the document has other directives."""
        finder = _ConditionFinder()
        visit(document, finder)
        return cls(schema, document, node, tuple(sorted(finder.names)))

    def conditions(self, values: VariableValues) -> Conditions:
        """Return what the variables decide."""
        return tuple(values.coerced.get(name) for name in self.names)

    def select(self, conditions: Conditions) -> Selection:
        """Return what the operation selects under these conditions."""
        pairs = zip(self.names, conditions, strict=True)
        known = {name: value for name, value in pairs if isinstance(value, bool)}
        return select(self.schema, self.document, self.node, known)


class _ConditionFinder(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        if node.name.value not in _CONDITIONAL:
            raise NotPlannable("a directive other than @skip and @include")
        self.names |= {each.value.name.value for each in node.arguments or () if isinstance(each.value, VariableNode)}


def has_variable(nodes: Iterable[Node]) -> bool:
    """Return whether a variable occurs in one of ``nodes``."""
    finder = _VariableFinder()
    for node in nodes:
        visit(node, finder)
    return finder.found


class _VariableFinder(Visitor):
    found = False

    def enter_variable(self, *_: object) -> None:
        self.found = True
