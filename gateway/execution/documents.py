"""Parses and validates GraphQL documents, and keeps those that were right."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)

DIGEST_LENGTH = 16
"""How many hexadecimal digits name a document: enough to tell one from any other, and short enough for each line."""

# A long document is rare and its syntax tree large: one is not worth the memory of many short ones.
_LONGEST_KEPT = 16 * 1024
_MOST_VALIDATION_ERRORS = 20


class RequestError(Exception):
    """The operation cannot begin (GraphQL spec, section 7.1.3: request errors). ``code`` is the errors' code."""

    def __init__(self, code: str, errors: list[GraphQLError]) -> None:
        super().__init__(code)
        self.code = code
        self.errors = errors


class UnknownOperation(RequestError):
    """The document does not hold the operation that was asked for, or holds several and none was named."""

    def __init__(self, message: str) -> None:
        super().__init__("BAD_USER_INPUT", [GraphQLError(message)])


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """A document that was parsed and validated against the schema."""

    node: DocumentNode
    digest: str = ""
    """Names it in the log and in traces; see `digest_of`."""
    is_kept: bool = True
    """Whether the same object is found again by the next request for the same text."""
    plans: dict[str | None, Any] = field(default_factory=dict, compare=False)
    """What `gateway.execution.planner` has compiled of it, by operation name; it is dropped with the document."""

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation called ``name``, or the only one (GraphQL spec, section 6.1, GetOperation)."""
        operations = [each for each in self.node.definitions if isinstance(each, OperationDefinitionNode)]
        if name is not None:
            for operation in operations:
                if operation.name is not None and operation.name.value == name:
                    return operation
            raise UnknownOperation(f"The document has no operation named {name!r}.")
        if len(operations) == 1:
            return operations[0]
        if operations:
            raise UnknownOperation("The document has several operations: say which one with `operationName`.")
        raise UnknownOperation("The document has no operation.")

    def is_query(self, name: str | None) -> bool:
        """Return whether the operation called ``name`` only reads."""
        return self.operation(name).operation is OperationType.QUERY


def digest_of(text: str) -> str:
    """Return the beginning of a document's SHA-256, as clients that persist queries know it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]


class Documents:
    """Turns the text of a document into a ValidDocument; the last ``size`` of them are kept."""

    def __init__(self, schema: GraphQLSchema, *, size: int, max_tokens: int, introspection: bool = True) -> None:
        self._schema = schema
        self._max_tokens = max_tokens
        self._keeps = size > 0
        self._introspection = introspection
        self._rules = [*specified_rules, *([] if introspection else [NoSchemaIntrospectionCustomRule])]
        self._kept = lru_cache(maxsize=size)(self._prepare)

    @property
    def kept(self) -> int:
        """How many documents are kept now."""
        return self._kept.cache_info().currsize

    def get(self, text: str) -> ValidDocument:
        """Return the document; raise RequestError where it does not parse or validate."""
        if len(text) > _LONGEST_KEPT:
            return self._prepare(text, is_kept=False)
        return self._kept(text)

    def _prepare(self, text: str, *, is_kept: bool = True) -> ValidDocument:
        try:
            node = parse(text, max_tokens=self._max_tokens)
        except GraphQLSyntaxError as exc:
            raise RequestError("GRAPHQL_PARSE_FAILED", [exc]) from exc
        except RecursionError as exc:
            error = GraphQLError("The document is nested too deeply.")
            raise RequestError("GRAPHQL_PARSE_FAILED", [error]) from exc
        errors = validate(
            self._schema,
            node,
            self._rules,
            max_errors=_MOST_VALIDATION_ERRORS,
            hide_suggestions=not self._introspection,  # what a schema has can be asked for by misspelling it, too
        )
        if errors:
            raise RequestError("GRAPHQL_VALIDATION_FAILED", errors)
        return ValidDocument(node, digest_of(text), is_kept and self._keeps)
