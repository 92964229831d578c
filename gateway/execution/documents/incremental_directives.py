"""``@defer`` and ``@stream`` in a document: whether it has them, whether they are valid, and how to remove them."""

from contextlib import suppress

from graphql import (
    BREAK,
    REMOVE,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLStreamDirective,
    Visitor,
    VisitorAction,
    visit,
)
from graphql.execution import VariableValues, get_argument_values

from gateway.execution.variables import Variables

_DIRECTIVES = ("defer", "stream")


class _Finder(Visitor):
    found = False

    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        if node.name.value in _DIRECTIVES:
            self.found = True
            return BREAK
        return None


class _Remover(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        return REMOVE if node.name.value in _DIRECTIVES else None


def is_incremental(text: str, document: DocumentNode) -> bool:
    """Return whether ``@defer`` or ``@stream`` occurs in a document, which was parsed from ``text``.

    Only the tree is certain, since white space, commas and comments are allowed between ``@`` and the name. But the
    name itself has only one spelling, so that most trees need not be searched.
    """
    if not any(name in text for name in _DIRECTIVES):
        return False
    finder = _Finder()
    visit(document, finder)
    return finder.found


class _InvalidCounts(Visitor):
    def __init__(self, variables: VariableValues) -> None:
        super().__init__()
        self._variables = variables
        self.found: list[DirectiveNode] = []

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        if node.name.value == GraphQLStreamDirective.name:
            # The executor reports an argument of the wrong type, and a variable of another operation.
            with suppress(GraphQLError):
                values = get_argument_values(GraphQLStreamDirective, node, self._variables)
                count = values["initialCount"]
                if values["if"] and (count is None or count < 0):
                    self.found.append(node)


def invalid_initial_counts(document: DocumentNode, variables: Variables) -> list[GraphQLError]:
    """Return an error for each ``@stream`` with a negative ``initialCount``, at which graphql-core fails unexpectedly.

    Without incremental delivery it would do no harm. But whether a request is valid does not depend on ``Accept``.
    """
    if variables.values is None:
        return []  # the executor reports what is wrong with them
    finder = _InvalidCounts(variables.values)
    visit(document, finder)
    message = "`initialCount` of @stream must be a number of items: 0 or more."
    return [GraphQLError(message, node) for node in finder.found]


def without_incremental_directives(document: DocumentNode) -> DocumentNode:
    """Return the document without ``@defer`` and ``@stream``."""
    whole: DocumentNode = visit(document, _Remover())
    return whole


class _Spreads(Visitor):
    """Notes which fragments each definition uses, and which are used inside a streamed field."""

    def __init__(self) -> None:
        super().__init__()
        self.streamed: set[str] = set()
        self.used_by: dict[str, set[str]] = {}
        self._within = 0
        self._used: set[str] = set()

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: object) -> None:
        self._used = self.used_by.setdefault(node.name.value, set())

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self._within += _is_streamed(node)

    def leave_field(self, node: FieldNode, *_: object) -> None:
        self._within -= _is_streamed(node)

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self._used.add(node.name.value)
        if self._within:
            self.streamed.add(node.name.value)


class _InnerStreams(Visitor):
    """Removes ``@stream`` inside streamed fields, and from all of the fragments ``streamed``."""

    def __init__(self, streamed: set[str]) -> None:
        super().__init__()
        self._streamed = streamed
        self._within = 0

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: object) -> None:
        self._within = node.name.value in self._streamed

    def leave_fragment_definition(self, *_: object) -> None:
        self._within = 0

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self._within += _is_streamed(node)

    def leave_field(self, node: FieldNode, *_: object) -> None:
        self._within -= _is_streamed(node)

    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        # The directive of a field is visited inside that field.
        return REMOVE if node.name.value == GraphQLStreamDirective.name and self._within > 1 else None


def _is_streamed(node: FieldNode) -> bool:
    return any(each.name.value == GraphQLStreamDirective.name for each in node.directives or ())


def without_inner_streams(document: DocumentNode) -> DocumentNode:
    """Return the document without ``@stream`` inside the items of a streamed list: they are sent complete.

    A server may ignore the directive. Apollo Client 4 does not know where to put the items of such a list, and drops
    them (`GraphQL17Alpha9Handler` notes the length of a list that came as ``data``, not of one in ``items``).
    """
    spreads = _Spreads()
    visit(document, spreads)
    streamed, found = set[str](), set(spreads.streamed)
    while found:
        streamed |= found
        found = {used for name in found for used in spreads.used_by.get(name, ())} - streamed
    outer: DocumentNode = visit(document, _InnerStreams(streamed))
    return outer
