"""How large a document is, with its fragments expanded: its depth, its fields, its aliases and more.

Fragments that spread fragments can be exponentially larger expanded than their text, and a fragment that spreads
itself has no end. So each definition is walked once, and then each fragment is summed up once. Nothing here recurses:
the limits decide how deep a document may be nested, not the interpreter.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
)

_INTROSPECTION = {"__schema", "__type"}


@dataclass(frozen=True, slots=True)
class _Spread:
    """A spread of a fragment: below how many fields, and whether one of those belongs to introspection."""

    name: str
    depth: int
    is_introspection: bool


@dataclass(slots=True)
class Size:
    """The size of a definition. The limits in the settings say what each number means."""

    depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    introspection_aliases: int = 0
    """Aliases below ``__schema`` and ``__type``."""
    schema_aliases: int = 0
    """Aliases of ``__schema``: each is a copy of what it selects in the response."""
    directives: int = 0
    longest_list: int = 0
    """This does not include fragments: each has its own."""

    def add(self, of: "Size", spread: _Spread) -> None:
        """Add the size of a fragment where it is spread."""
        self.depth = max(self.depth, spread.depth + of.depth)
        self.root_fields += of.root_fields if spread.depth == 0 else 0
        self.fields += of.fields
        self.aliases += of.aliases
        self.introspection_aliases += of.aliases if spread.is_introspection else of.introspection_aliases
        self.schema_aliases += of.schema_aliases
        self.directives += of.directives


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """The sizes of a document's operations, with fragments expanded, and its longest list."""

    operations: tuple[Size, ...]
    longest_list: int


def size_of(document: DocumentNode) -> DocumentSize:
    """Return the size of a document that is parsed but not validated."""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    walked = {each.name.value: _Walk.over(each) for each in fragments}
    roots = [_Walk.over(each) for each in operations]
    longest = max((walk.size.longest_list for walk in (*roots, *walked.values())), default=0)
    _expand(walked)
    for root in roots:
        _sum_up(root, walked)
    return DocumentSize(tuple(root.size for root in roots), longest)


@dataclass(slots=True)
class _Walk:
    """One definition: its own size, and the fragments that it spreads."""

    size: Size = field(default_factory=Size)
    spreads: list[_Spread] = field(default_factory=list)
    _open: list[tuple[SelectionSetNode, int, bool]] = field(default_factory=list)

    @classmethod
    def over(cls, definition: OperationDefinitionNode | FragmentDefinitionNode) -> "_Walk":
        """Return the walk over a definition."""
        walk = cls()
        walk._directives(definition.directives)
        for variable in definition.variable_definitions or ():
            walk._directives(variable.directives)
            walk._values([variable.default_value] if variable.default_value else [])
        walk._open.append((definition.selection_set, 0, False))
        while walk._open:
            selection_set, depth, is_introspection = walk._open.pop()
            for selection in selection_set.selections:
                walk._selection(selection, depth, is_introspection)
        return walk

    def _selection(self, selection: SelectionNode, depth: int, is_introspection: bool) -> None:
        self.size.fields += 1
        self._directives(selection.directives)
        match selection:
            case FieldNode():
                self._field(selection, depth, is_introspection)
            case InlineFragmentNode():
                self._open.append((selection.selection_set, depth, is_introspection))
            case FragmentSpreadNode():
                self.spreads.append(_Spread(selection.name.value, depth, is_introspection))

    def _field(self, node: FieldNode, depth: int, is_introspection: bool) -> None:
        size = self.size
        size.depth = max(size.depth, depth + 1)
        size.root_fields += depth == 0
        if node.alias is not None:
            size.aliases += 1
            size.introspection_aliases += is_introspection
            size.schema_aliases += node.name.value == "__schema"
        self._arguments(node.arguments)
        if node.selection_set is not None:
            is_below = is_introspection or node.name.value in _INTROSPECTION
            self._open.append((node.selection_set, depth + 1, is_below))

    def _directives(self, directives: Sequence[DirectiveNode] | None) -> None:
        for directive in directives or ():
            self.size.directives += 1
            self._arguments(directive.arguments)

    def _arguments(self, arguments: Iterable[ArgumentNode] | None) -> None:
        self._values([each.value for each in arguments or ()])

    def _values(self, values: list[ValueNode]) -> None:
        while values:
            match values.pop():
                case ListValueNode(values=items):
                    self.size.longest_list = max(self.size.longest_list, len(items))
                    values.extend(items)
                case ObjectValueNode(fields=fields):
                    values.extend(each.value for each in fields)


def _sum_up(walk: _Walk, expanded: Mapping[str, _Walk]) -> None:
    for spread in walk.spreads:
        if spread.name in expanded:
            walk.size.add(expanded[spread.name].size, spread)


def _expand(fragments: Mapping[str, _Walk]) -> None:
    """Sum up each fragment after those that it spreads. One that spreads itself, which is invalid, adds nothing."""
    done: dict[str, _Walk] = {}
    entered: set[str] = set()
    for root in fragments:
        path = [(root, _unentered(root, fragments, entered))] if root not in entered else []
        while path:
            name, following = path[-1]
            below = next(following, None)
            if below is not None:
                path.append((below, _unentered(below, fragments, entered)))
                continue
            path.pop()
            _sum_up(fragments[name], done)
            done[name] = fragments[name]


def _unentered(name: str, fragments: Mapping[str, _Walk], entered: set[str]) -> Iterator[str]:
    """Enter a fragment, and return those that it spreads and that are not entered when they are reached."""
    entered.add(name)
    return (each.name for each in fragments[name].spreads if each.name in fragments and each.name not in entered)
