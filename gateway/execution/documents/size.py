"""How large a document is: how deep, how wide, with how many aliases, its fragments written out.

A fragment that spreads fragments many times over is exponentially larger written out than its text, and one that
spreads itself has no end. So each definition is walked once, and sums are made afterwards, of each fragment once.
Nothing here recurses: how deep a document is nested is for the limits to say, not for the interpreter.
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
    """Where a fragment is spread: below how many fields, and whether one of those is introspection's."""

    name: str
    depth: int
    is_introspection: bool


@dataclass(slots=True)
class Size:
    """What a definition comes to. The limits in the settings say what each number means."""

    depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    introspection_aliases: int = 0
    directives: int = 0
    longest_list: int = 0
    """This alone does not count fragments: each is looked at for itself."""

    def add(self, of: "Size", spread: _Spread) -> None:
        """Write a fragment out where it is spread."""
        self.depth = max(self.depth, spread.depth + of.depth)
        self.root_fields += of.root_fields if spread.depth == 0 else 0
        self.fields += of.fields
        self.aliases += of.aliases
        self.introspection_aliases += of.aliases if spread.is_introspection else of.introspection_aliases
        self.directives += of.directives


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """The sizes of a document's operations, fragments written out, and the longest list in it."""

    operations: tuple[Size, ...]
    longest_list: int


def size_of(document: DocumentNode) -> DocumentSize:
    """Return how large a document is that was parsed, and not validated yet."""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    walked = {each.name.value: _Walk.over(each) for each in fragments}
    roots = [_Walk.over(each) for each in operations]
    longest = max((walk.size.longest_list for walk in (*roots, *walked.values())), default=0)
    _write_out(walked)
    for root in roots:
        _sum_up(root, walked)
    return DocumentSize(tuple(root.size for root in roots), longest)


@dataclass(slots=True)
class _Walk:
    """One definition: what stands in it, and which fragments it spreads."""

    size: Size = field(default_factory=Size)
    spreads: list[_Spread] = field(default_factory=list)
    _open: list[tuple[SelectionSetNode, int, bool]] = field(default_factory=list)

    @classmethod
    def over(cls, definition: OperationDefinitionNode | FragmentDefinitionNode) -> "_Walk":
        """Walk over a definition."""
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
            size.introspection_aliases += is_introspection or node.name.value == "__schema"
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


def _sum_up(walk: _Walk, written_out: Mapping[str, _Walk]) -> None:
    for spread in walk.spreads:
        if spread.name in written_out:
            walk.size.add(written_out[spread.name].size, spread)


def _write_out(fragments: Mapping[str, _Walk]) -> None:
    """Sum up each fragment after those that it spreads; one that spreads itself, which is not valid, adds nothing."""
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
    """Enter a fragment, and yield those that it spreads and that nobody has entered by then."""
    entered.add(name)
    return (each.name for each in fragments[name].spreads if each.name in fragments and each.name not in entered)
