"""What a document may ask for, and what a caller may put into its variables.

    text ─▶ characters ─▶ parser: tokens ─▶ size: depth, fields … ─▶ validation: comparisons ─▶ variables: lists ─▶ cost

All but the last two are held against a document once, and most of them before it is validated: to validate is what a
small text can make expensive. Measured: a token costs 5 µs to parse and 10 to validate, a character of a comment or a
string 0.25 µs, a unit of comparisons 1 µs. With the defaults that is below 50 ms for any document.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    ListTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    parse,
)

from gateway.compat.graphql_core import exceeds_token_limit, is_validation_aborted
from gateway.errors import (
    DocumentTooLong,
    LimitExceeded,
    ListTooLong,
    TooDeep,
    TooManyAliases,
    TooManyComparisons,
    TooManyDirectives,
    TooManyFields,
    TooManyOperations,
    TooManyRootFields,
    TooManyTokens,
)
from gateway.execution.documents.size import DocumentSize, size_of
from gateway.settings import Settings

_UNLIMITED = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is allowed; each is the setting ``GATEWAY_MAX_<NAME>``, which says what it means."""

    document: int = _UNLIMITED
    tokens: int = _UNLIMITED
    depth: int = _UNLIMITED
    fields: int = _UNLIMITED
    aliases: int = _UNLIMITED
    introspection_aliases: int = _UNLIMITED
    """This one is no setting: introspection answers much to few words, and no tool gives it aliases."""
    root_fields: int = _UNLIMITED
    directives: int = _UNLIMITED
    operations: int = _UNLIMITED
    comparisons: int = _UNLIMITED
    list: int = _UNLIMITED


def limits_of(settings: Settings) -> Limits:
    """Return the limits that ``settings`` ask for."""
    return Limits(
        document=settings.max_document,
        tokens=settings.max_tokens,
        depth=settings.max_depth,
        fields=settings.max_fields,
        aliases=settings.max_aliases,
        introspection_aliases=0,
        root_fields=settings.max_root_fields,
        directives=settings.max_directives,
        operations=settings.max_operations,
        comparisons=settings.max_comparisons,
        list=settings.max_list,
    )


def parse_within(text: str, limits: Limits) -> DocumentNode:
    """Return the parsed document; raise LimitExceeded where it is too large, GraphQLSyntaxError where it is none."""
    _require(DocumentTooLong, len(text), limits.document, "The document has {} characters")
    try:
        node = parse(text, max_tokens=limits.tokens)
    except GraphQLSyntaxError as exc:
        if exceeds_token_limit(exc, limits.tokens):
            raise TooManyTokens(f"The document has more than {limits.tokens} tokens.") from None
        raise
    _check_size(size_of(node), limits)
    return node


def _check_size(size: DocumentSize, limits: Limits) -> None:
    each = size.operations
    _require(TooManyOperations, len(each), limits.operations, "The document has {} operations")
    _require(TooDeep, max((one.depth for one in each), default=0), limits.depth, "An operation is {} fields deep")
    most = max((one.root_fields for one in each), default=0)
    _require(TooManyRootFields, most, limits.root_fields, "An operation has {} root fields")
    _require(TooManyFields, sum(one.fields for one in each), limits.fields, "The document has {} fields" + _WITH)
    _require(TooManyAliases, sum(one.aliases for one in each), limits.aliases, "The document has {} aliases" + _WITH)
    found = sum(one.introspection_aliases for one in each)
    _require(TooManyAliases, found, limits.introspection_aliases, "Introspection has {} aliases")
    found = sum(one.directives for one in each)
    _require(TooManyDirectives, found, limits.directives, "The document has {} directives" + _WITH)
    _require(ListTooLong, size.longest_list, limits.list, "A list in the document has {} items")


_WITH = ", its fragments written out"


def _require(error: type[LimitExceeded], found: int, most: int, says: str) -> None:
    if found > most:
        # A number can have as many digits as a document has fragments.
        raise error(f"{says.format(found if found < _UNLIMITED else 'very many')}; at most {most} are allowed.")


def require_comparable(errors: list[GraphQLError], limits: Limits) -> None:
    """Raise TooManyComparisons where validation gave up."""
    if is_validation_aborted(errors):
        raise TooManyComparisons(
            "The document has too many fields that overlap, or fragments that are nested too deeply, to be validated; "
            f"at most {limits.comparisons} comparisons are made."
        )


def list_variables(operation: OperationDefinitionNode) -> tuple[str, ...]:
    """Return the names of the variables that are lists."""
    return tuple(
        each.variable.name.value
        for each in operation.variable_definitions or ()
        if isinstance(each.type.type if isinstance(each.type, NonNullTypeNode) else each.type, ListTypeNode)
    )


def check_lists(names: Iterable[str], variables: dict[str, Any] | None, limits: Limits) -> None:
    """Raise ListTooLong where a variable has more items than it may, before anything looks at them."""
    for name in names:
        value = variables.get(name) if variables else None
        if type(value) is list and len(value) > limits.list:
            message = f"The variable ${name} has {len(value)} items; at most {limits.list} are allowed."
            raise ListTooLong(message)
