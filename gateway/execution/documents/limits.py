"""The limits of a document and of its variables, and their checks.

    text ─▶ characters ─▶ parser: tokens ─▶ size: depth, fields … ─▶ validation: comparisons ─▶ variables: lists ─▶ cost

All but the last two are checked once for a document, and most of them before it is validated, since a small text can
be expensive to validate. Measured: a token costs 5 µs to parse and 10 µs to validate, a character of a comment or a
string 0.25 µs, a comparison 1 µs. With the defaults, that is below 50 ms for any document.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
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
from gateway.schema.federation import distinct_entities
from gateway.settings import LimitSettings

_UNLIMITED = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest number that is allowed. Each is the setting ``GATEWAY_MAX_<NAME>``, which says what it means."""

    document: int = _UNLIMITED
    tokens: int = _UNLIMITED
    depth: int = _UNLIMITED
    fields: int = _UNLIMITED
    aliases: int = _UNLIMITED
    introspection_aliases: int = _UNLIMITED
    """This one is not a setting: a short introspection query has a large response. One alias of ``__schema`` is not
    counted: Hot Chocolate 13 and its predecessors send it."""
    root_fields: int = _UNLIMITED
    directives: int = _UNLIMITED
    operations: int = _UNLIMITED
    comparisons: int = _UNLIMITED
    list: int = _UNLIMITED


def limits_of(settings: LimitSettings) -> Limits:
    """Return the limits that ``settings`` ask for."""
    return Limits(
        document=settings.document,
        tokens=settings.tokens,
        depth=settings.depth,
        fields=settings.fields,
        aliases=settings.aliases,
        introspection_aliases=0,
        root_fields=settings.root_fields,
        directives=settings.directives,
        operations=settings.operations,
        comparisons=settings.comparisons,
        list=settings.list_items,
    )


def parse_within(text: str, limits: Limits) -> DocumentNode:
    """Return the parsed document; raise LimitExceeded if it is too large, GraphQLSyntaxError if it does not parse."""
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
    found = sum(one.introspection_aliases + max(0, one.schema_aliases - 1) for one in each)
    _require(TooManyAliases, found, limits.introspection_aliases, "Introspection has {} aliases")
    found = sum(one.directives for one in each)
    _require(TooManyDirectives, found, limits.directives, "The document has {} directives" + _WITH)
    _require(ListTooLong, size.longest_list, limits.list, "A list in the document has {} items")


_WITH = ", its fragments written out"


def _require(error: type[LimitExceeded], found: int, most: int, says: str) -> None:
    if found > most:
        # The number can have as many digits as the document has fragments.
        raise error(f"{says.format(found if found < _UNLIMITED else 'very many')}; at most {most} are allowed.")


def require_comparable(errors: list[GraphQLError], limits: Limits) -> None:
    """Raise TooManyComparisons if the validation was aborted."""
    if is_validation_aborted(errors):
        raise TooManyComparisons(
            "The document has too many fields that overlap, or fragments that are nested too deeply, to be validated; "
            f"at most {limits.comparisons} comparisons are made."
        )


ENTITIES_MULTIPLE = 5
"""How many times ``GATEWAY_MAX_LIST`` different entities a list of representations may have."""

REPRESENTATIONS_MULTIPLE = 10
"""How many times ``GATEWAY_MAX_LIST`` representations it may have: a router may repeat an entity."""


def check_lists(names: Iterable[str], variables: dict[str, Any] | None, most: int) -> None:
    """Raise ListTooLong if a variable has too many items, before any of them is read."""
    for name in names:
        value = variables.get(name) if variables else None
        if type(value) is list and len(value) > most:
            message = f"The variable ${name} has {len(value)} items; at most {most} are allowed."
            raise ListTooLong(message)


def check_representations(names: Iterable[str], variables: dict[str, Any] | None, most: int) -> None:
    """Raise ListTooLong if a variable has too many representations, or names too many different entities."""
    check_lists(names, variables, most * REPRESENTATIONS_MULTIPLE)
    entities = most * ENTITIES_MULTIPLE
    for name in names:
        value = variables.get(name) if variables else None
        if type(value) is list and len(value) > entities and (found := distinct_entities(value)) > entities:
            raise ListTooLong(f"The variable ${name} has {found} different entities; at most {entities} are allowed.")
