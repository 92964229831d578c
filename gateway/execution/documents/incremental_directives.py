"""Which documents ask for an answer in parts, with ``@defer`` or ``@stream``, and what is wrong with how they do."""

from contextlib import suppress
from typing import Any

from graphql import (
    BREAK,
    REMOVE,
    DirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLStreamDirective,
    OperationDefinitionNode,
    Visitor,
    VisitorAction,
    visit,
)
from graphql.execution import VariableValues, get_argument_values, get_variable_values

_DIRECTIVES = ("defer", "stream")


class _Parts(Visitor):
    found = False

    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        if node.name.value in _DIRECTIVES:
            self.found = True
            return BREAK
        return None


class _WithoutParts(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        return REMOVE if node.name.value in _DIRECTIVES else None


def asks_for_parts(text: str, document: DocumentNode) -> bool:
    """Return whether a document, which was parsed from ``text``, asks for an answer in parts.

    The tree says so: between ``@`` and the name there may be white space, commas and comments. A name can only be
    written as it is, so that most trees need no looking through.
    """
    if not any(name in text for name in _DIRECTIVES):
        return False
    finder = _Parts()
    visit(document, finder)
    return finder.found


class _WrongCounts(Visitor):
    def __init__(self, variables: VariableValues) -> None:
        super().__init__()
        self._variables = variables
        self.found: list[DirectiveNode] = []

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        if node.name.value == GraphQLStreamDirective.name:
            # An argument that is wrong itself, or a variable of another operation, is for the executor to judge.
            with suppress(GraphQLError):
                values = get_argument_values(GraphQLStreamDirective, node, self._variables)
                count = values["initialCount"]
                if values["if"] and (count is None or count < 0):
                    self.found.append(node)


def wrong_counts(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, inputs: dict[str, Any] | None
) -> list[GraphQLError]:
    """Return an error for each ``@stream`` that begins with less than no items; graphql-core fails at it, as a bug.

    It is none of the executor's business in one part, but whether a request is right does not depend on ``Accept``.
    """
    variables = get_variable_values(schema, operation.variable_definitions or (), inputs or {}, max_errors=0)
    if not isinstance(variables, VariableValues):
        return []  # the executor says what is wrong with them
    finder = _WrongCounts(variables)
    visit(document, finder)
    message = "`initialCount` of @stream must be a number of items: 0 or more."
    return [GraphQLError(message, node) for node in finder.found]


def in_one_part(document: DocumentNode) -> DocumentNode:
    """Return the document without ``@defer`` and ``@stream``."""
    whole: DocumentNode = visit(document, _WithoutParts())
    return whole
