"""The ids in a query: where a caller names a thread or a customer, and what it is called in a recording."""

from collections.abc import Callable, Iterable
from typing import Any

from graphql import (
    ArgumentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectFieldNode,
    StringValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from gateway.schema.scalars import is_int64
from tests.recording.corpus import Query

NAMES = {"id", "ids", "externalId", "threadId"}
"""Arguments, and fields of an entity's representation, that hold ids."""


def ids_of(query: Query) -> set[str]:
    """Return the ids that a query names."""
    found: set[str] = set()

    def see(value: str) -> str:
        found.add(value)
        return value

    with_ids(query, see)
    return found


def with_ids(query: Query, renamed: Callable[[str], str]) -> Query:
    """Return the query with other ids. It is printed anew in any case, so that places in it are the same."""
    node = parse(query.document)
    looking = _Renaming(str)
    visit(node, looking)
    document = print_ast(visit(node, _Renaming(renamed, looking.variables)))
    variables = {name: _in_json(each, name in looking.variables, renamed) for name, each in query.variables.items()}
    return Query(document, variables, query.name)


class _Renaming(Visitor):
    """Renames ids, and notes the variables that hold some. Those that are known have their defaults renamed, too."""

    def __init__(self, renamed: Callable[[str], str], known: Iterable[str] = ()) -> None:
        super().__init__()
        self.variables = set(known)
        self._renamed = renamed

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> Node | None:
        if node.default_value is None or node.variable.name.value not in self.variables:
            return None
        default = self._value(node.default_value)
        return VariableDefinitionNode(
            variable=node.variable, type=node.type, default_value=default, directives=node.directives
        )

    def enter_argument(self, node: ArgumentNode, *_: Any) -> Node | None:
        return self._enter(node)

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> Node | None:
        return self._enter(node)

    def _enter(self, node: ArgumentNode | ObjectFieldNode) -> Node | None:
        return type(node)(name=node.name, value=self._value(node.value)) if node.name.value in NAMES else None

    def _value(self, node: Any) -> Any:
        match node:
            case VariableNode():
                self.variables.add(node.name.value)
                return node
            case ListValueNode():
                return ListValueNode(values=tuple(map(self._value, node.values)))
            case StringValueNode() | IntValueNode():
                if isinstance(node, IntValueNode) and not is_int64(int(node.value)):
                    return node  # no id
                renamed = self._renamed(node.value)
                return node if renamed == node.value else StringValueNode(value=renamed)
            case _:
                return node


def _in_json(value: Any, is_id: bool, renamed: Callable[[str], str]) -> Any:
    match value:
        case dict():
            return {name: _in_json(each, name in NAMES, renamed) for name, each in value.items()}
        case list():
            return [_in_json(each, is_id, renamed) for each in value]
        case str() | int() if is_id and not isinstance(value, bool) and (isinstance(value, str) or is_int64(value)):
            new = renamed(str(value))
            return value if new == str(value) else new
        case _:
            return value
