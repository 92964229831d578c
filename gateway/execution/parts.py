"""Which documents ask for an answer in parts, with ``@defer`` or ``@stream``."""

from graphql import BREAK, REMOVE, DirectiveNode, DocumentNode, Visitor, VisitorAction, visit

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


def in_one_part(document: DocumentNode) -> DocumentNode:
    """Return the document without ``@defer`` and ``@stream``."""
    whole: DocumentNode = visit(document, _WithoutParts())
    return whole
