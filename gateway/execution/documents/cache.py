"""Parses and validates GraphQL documents, and keeps those that were right."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    recommended_rules,
    specified_rules,
    validate,
)

from gateway.compat.graphql_core import bounded_merge_rule
from gateway.errors import BadUserInput, DocumentNotTrusted, GatewayError, LimitExceeded
from gateway.execution.documents.incremental_directives import asks_for_parts, wrong_counts
from gateway.execution.documents.limits import (
    Limits,
    check_lists,
    list_variables,
    parse_within,
    require_comparable,
)
from gateway.execution.documents.trusted import TrustedDocuments, log_unknown

DIGEST_LENGTH = 16
"""How many hexadecimal digits name a document: enough to tell one from any other, and short enough for each line."""

# A long document is rare and its syntax tree large: one is not worth the memory of many short ones.
_LONGEST_KEPT = 32 * 1024
_MOST_VALIDATION_ERRORS = 20
# A client that is wrong is wrong every time. There are few of them, and they must not push out those that are right.
_MOST_REFUSED = 100


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
    asks_for_parts: bool = False
    """Whether ``@defer`` or ``@stream`` occurs in it."""
    plans: dict[str | None, Any] = field(default_factory=dict, compare=False)
    """What `gateway.execution.plans.cache` has compiled of it, by operation name; it is dropped with the document."""
    costs: dict[str | None, Any] = field(default_factory=dict, compare=False)
    """What `gateway.execution.cost.policy` knows of what it costs, by operation name."""
    lists: dict[str | None, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """The variables that are lists, by operation name."""

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

    def list_variables(self, name: str | None) -> tuple[str, ...]:
        """Return which variables of the operation called ``name`` are lists."""
        names = self.lists.get(name)
        if names is None:
            names = self.lists[name] = list_variables(self.operation(name))
        return names

    def is_query(self, name: str | None) -> bool:
        """Return whether the operation called ``name`` only reads."""
        return self.operation(name).operation is OperationType.QUERY


def digest_of(text: str) -> str:
    """Return the beginning of a document's SHA-256, as clients that persist queries know it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]


class Documents:
    """Turns the text of a document into a ValidDocument; the last ``size`` of them are kept."""

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        size: int,
        limits: Limits | None = None,
        introspection: bool = True,
        trusted: TrustedDocuments | None = None,
    ) -> None:
        """Take documents within ``limits``, without which there are none, and those that are ``trusted``."""
        self.limits = limits or Limits()
        self._schema = schema
        self._trusted = trusted
        self._longest_kept = max(_LONGEST_KEPT, trusted.longest if trusted else 0)
        self._keeps = size > 0
        self._introspection = introspection
        self._rules = [_bounded(each, self.limits) for each in (*specified_rules, *recommended_rules)]
        if not introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._as_written: Callable[[str], str] = lru_cache(maxsize=size)(trusted.as_written) if trusted else str
        self._kept = lru_cache(maxsize=size)(self._prepare)
        self._refused: LRUCache[str, RequestError] = LRUCache(min(size, _MOST_REFUSED))

    @property
    def kept(self) -> int:
        """How many documents are kept now."""
        return self._kept.cache_info().currsize

    def get(self, text: str) -> ValidDocument:
        """Return the document; raise RequestError where it is too large, or does not parse or validate.

        Where ``text`` is a spelling of a trusted document, that is returned: the places of errors are places there.
        """
        if len(text) <= self._longest_kept:
            return self._kept(self._as_written(text))
        written = self._trusted.as_written(text) if self._trusted else text
        return self._validated(text, is_kept=False) if written is text else self._kept(written)

    def check_variables(self, document: ValidDocument, name: str | None, variables: dict[str, Any] | None) -> None:
        """Raise RequestError where a list in ``variables`` is too long, or a ``@stream`` gets no number of items."""
        names = document.list_variables(name)
        if names:
            try:
                check_lists(names, variables, self.limits)
            except LimitExceeded as exc:
                raise _refusal(exc) from exc
        if document.asks_for_parts:
            errors = wrong_counts(self._schema, document.node, document.operation(name), variables)
            if errors:
                raise RequestError(BadUserInput.code, errors)

    def _prepare(self, text: str) -> ValidDocument:
        """Return what is kept, or raise what was raised for the same text before."""
        known = self._refused.get(text)
        if known is not None:
            raise RequestError(known.code, known.errors)
        try:
            return self._validated(text, is_kept=self._keeps)
        except RequestError as exc:
            if self._refused.maxsize:
                self._refused[text] = _without_tree(exc)
            raise

    def _validated(self, text: str, *, is_kept: bool) -> ValidDocument:
        try:
            if self._trusted is None:
                node = self._within(text, self.limits)
            else:
                node = self._trusted_or_not(text, self._trusted)
        except (LimitExceeded, DocumentNotTrusted) as exc:
            raise _refusal(exc) from exc
        except GraphQLSyntaxError as exc:
            raise RequestError("GRAPHQL_PARSE_FAILED", [exc]) from exc
        except RecursionError as exc:
            error = GraphQLError("The document is nested too deeply.")
            raise RequestError("GRAPHQL_PARSE_FAILED", [error]) from exc
        return ValidDocument(node, digest_of(text), is_kept, asks_for_parts(text, node))

    def _trusted_or_not(self, text: str, trusted: TrustedDocuments) -> DocumentNode:
        if trusted.knows(text):
            return self._within(text, Limits() if trusted.lifts_limits else self.limits)
        if trusted.refuses_others:
            raise DocumentNotTrusted
        node = self._within(text, self.limits)
        log_unknown(text, node)
        return node

    def _within(self, text: str, limits: Limits) -> DocumentNode:
        node = parse_within(text, limits)
        errors = validate(
            self._schema,
            node,
            self._rules if limits is self.limits else specified_rules,
            max_errors=_MOST_VALIDATION_ERRORS,
            hide_suggestions=not self._introspection,  # what a schema has can be asked for by misspelling it, too
        )
        require_comparable(errors, limits)
        if errors:
            raise RequestError("GRAPHQL_VALIDATION_FAILED", errors)
        return node


def _bounded(rule: Any, limits: Limits) -> Any:
    return bounded_merge_rule(limits.comparisons) if rule is OverlappingFieldsCanBeMergedRule else rule


def _refusal(exc: GatewayError) -> RequestError:
    return RequestError(exc.code, [GraphQLError(exc.message)])


def _without_tree(refusal: RequestError) -> RequestError:
    """Return the same refusal with errors that keep only their places in the text, not the whole syntax tree."""
    errors = [GraphQLError(each.message, source=each.source, positions=each.positions) for each in refusal.errors]
    return RequestError(refusal.code, errors)
