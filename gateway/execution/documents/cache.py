"""Parses and validates GraphQL documents, and caches the valid ones."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    recommended_rules,
    specified_rules,
    validate,
)

from gateway.compat.graphql_core import bounded_merge_rule, make_compact
from gateway.errors import (
    BadUserInput,
    DocumentInvalid,
    DocumentNotTrusted,
    DocumentSyntaxError,
    GatewayError,
    LimitExceeded,
    RequestError,
    UnknownOperation,
)
from gateway.execution.documents.incremental_directives import invalid_initial_counts, is_incremental
from gateway.execution.documents.limits import (
    Limits,
    check_lists,
    check_representations,
    parse_within,
    require_comparable,
)
from gateway.execution.documents.trusted import TrustedDocuments, log_unknown
from gateway.execution.variables import VariableCoercer, Variables

DIGEST_LENGTH = 16
"""How many hexadecimal digits of its hash name a document: enough to be unique, and short enough for a log line."""

# A long document is rare, and its syntax tree takes the memory of many short ones.
_MAX_KEPT_CHARACTERS = 32 * 1024
_MAX_VALIDATION_ERRORS = 20
# What counts as one document in the cache. A token takes some 0.5 KB in a syntax tree: 1,000 trees take 50 MB at most.
_TOKENS_OF_ONE = 100
_CHARACTERS_OF_ONE = 2000
# A client repeats an invalid document. There are few of these, and they must not evict valid ones.
_MAX_INVALID = 100


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """A document that was parsed and validated against the schema."""

    node: DocumentNode
    digest: str = ""
    """Names it in the log and in traces; see `digest_of`."""
    is_kept: bool = True
    """Whether the next request with the same text gets the same object."""
    weight: int = 1
    """How many ordinary documents take as much memory."""
    is_incremental: bool = False
    """Whether ``@defer`` or ``@stream`` occurs in it."""
    plans: dict[str | None, Any] = field(default_factory=dict, compare=False)
    """The plans of `gateway.execution.plans.cache`, by operation name: they are freed with the document."""
    costs: dict[str | None, Any] = field(default_factory=dict, compare=False)
    """The costs of `gateway.execution.cost.policy`, by operation name."""
    coercers: dict[str | None, VariableCoercer] = field(default_factory=dict, compare=False)
    """What coerces the variables, by operation name."""
    number: int = field(default_factory=count().__next__, compare=False)
    """Distinguishes it from every other document of the process, and does not keep it alive."""
    _operations: dict[str | None, OperationDefinitionNode] = field(default_factory=dict, compare=False)

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation called ``name``, or the only one (GraphQL spec, section 6.1, GetOperation)."""
        operation = self._operations.get(name)
        if operation is None:
            operation = self._operations[name] = self._find(name)
        return operation

    def _find(self, name: str | None) -> OperationDefinitionNode:
        operations = [each for each in self.node.definitions if isinstance(each, OperationDefinitionNode)]
        if name is not None:
            for operation in operations:
                if operation.name is not None and operation.name.value == name:
                    return operation
            raise _unknown_operation(f"The document has no operation named {name!r}.")
        if len(operations) == 1:
            return operations[0]
        if operations:
            raise _unknown_operation("The document has several operations: say which one with `operationName`.")
        raise _unknown_operation("The document has no operation.")

    def root_path(self, name: str | None) -> list[str | int] | None:
        """Return the path of the operation's only root field: a router can then tell which of its fields fails."""
        match self.operation(name).selection_set.selections:
            case (FieldNode(name=field, alias=alias),):
                return [field.value if alias is None else alias.value]
        return None


def _unknown_operation(message: str) -> UnknownOperation:
    return UnknownOperation([GraphQLError(message)])


def digest_of(text: str) -> str:
    """Return the first digits of a document's SHA-256, which clients with persisted queries use as well."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]


class DocumentCache:
    """Turns the text of a document into a ValidDocument; the last ``size`` of them are cached.

    A document of 100 tokens or 2,000 characters counts as two, of 200 tokens as three: its memory grows with it.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        size: int,
        limits: Limits | None = None,
        introspection: bool = True,
        trusted: TrustedDocuments | None = None,
    ) -> None:
        """Accept documents within ``limits``, by default without any, and those that are ``trusted``."""
        self.limits = limits or Limits()
        self._schema = schema
        self._trusted = trusted
        self._max_kept = max(_MAX_KEPT_CHARACTERS, trusted.longest if trusted else 0)
        self._keeps = size > 0
        self._introspection = introspection
        self._rules = [_bounded(each, self.limits) for each in (*specified_rules, *recommended_rules)]
        if not introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._as_written: Callable[[str], str] = lru_cache(maxsize=size)(trusted.as_written) if trusted else str
        self._kept: LRUCache[str, ValidDocument] = LRUCache(size, getsizeof=lambda document: min(size, document.weight))
        self._invalid: LRUCache[str, RequestError] = LRUCache(min(size, _MAX_INVALID))

    @property
    def kept(self) -> int:
        """How many documents are cached."""
        return len(self._kept)

    def get(self, text: str) -> ValidDocument:
        """Return the document; raise RequestError if it is too large, or does not parse or validate.

        If ``text`` is a spelling of a trusted document, that is returned, and the locations of errors are in its text.
        """
        if len(text) <= self._max_kept:
            return self._cached(self._as_written(text))
        written = self._trusted.as_written(text) if self._trusted else text
        return self._validated(text, is_kept=False) if written is text else self._cached(written)

    def variables(self, document: ValidDocument, name: str | None, inputs: dict[str, Any] | None) -> Variables:
        """Return the variables of an operation.

        Raises RequestError if a list in ``inputs`` is too long, an integer is too large, or the ``initialCount`` of a
        ``@stream`` is invalid.
        """
        coercer = document.coercers.get(name)
        if coercer is None:
            coercer = document.coercers[name] = VariableCoercer(self._schema, document.operation(name))
        try:
            check_lists(coercer.lists, inputs, self.limits.list)
            check_representations(coercer.representations, inputs, self.limits.list)
        except LimitExceeded as exc:
            raise RequestError([GraphQLError(exc.message, path=document.root_path(name))], exc.code) from exc
        too_large = coercer.too_large(inputs) if inputs else None
        if too_large is not None:
            message = f"The variable ${too_large} has an integer of more than 64 bits."
            raise RequestError([GraphQLError(message)], BadUserInput.code)
        variables = Variables(coercer, inputs)
        if document.is_incremental:
            errors = invalid_initial_counts(document.node, variables)
            if errors:
                raise RequestError(errors, BadUserInput.code)
        return variables

    def _cached(self, text: str) -> ValidDocument:
        """Return the document, or raise the error, of the last request with the same text."""
        document = self._kept.get(text)
        if document is not None:
            return document
        known = self._invalid.get(text)
        if known is not None:
            raise RequestError(known.errors, known.code)
        try:
            document = self._validated(text, is_kept=self._keeps)
        except RequestError as exc:
            if self._invalid.maxsize:
                self._invalid[text] = _without_tree(exc)
            raise
        if self._keeps:
            make_compact(document.node)
            self._kept[text] = document
        return document

    def _validated(self, text: str, *, is_kept: bool) -> ValidDocument:
        try:
            if self._trusted is None:
                node = self._within(text, self.limits)
            else:
                node = self._trusted_or_not(text, self._trusted)
        except (LimitExceeded, DocumentNotTrusted) as exc:
            raise _request_error(exc) from exc
        except GraphQLSyntaxError as exc:
            raise DocumentSyntaxError([exc]) from exc
        except RecursionError as exc:
            error = GraphQLError("The document is nested too deeply.")
            raise DocumentSyntaxError([error]) from exc
        weight = 1 + max(node.token_count // _TOKENS_OF_ONE, len(text) // _CHARACTERS_OF_ONE)
        return ValidDocument(node, digest_of(text), is_kept, weight, is_incremental(text, node))

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
            max_errors=_MAX_VALIDATION_ERRORS,
            hide_suggestions=not self._introspection,  # suggestions reveal the schema as well
        )
        require_comparable(errors, limits)
        if errors:
            raise DocumentInvalid(errors)
        return node


def _bounded(rule: Any, limits: Limits) -> Any:
    return bounded_merge_rule(limits.comparisons) if rule is OverlappingFieldsCanBeMergedRule else rule


def _request_error(exc: GatewayError) -> RequestError:
    return RequestError([GraphQLError(exc.message)], exc.code)


def _without_tree(refusal: RequestError) -> RequestError:
    """Return the same error without the syntax tree: only the locations in the text are kept."""
    errors = [GraphQLError(each.message, source=each.source, positions=each.positions) for each in refusal.errors]
    return RequestError(errors, refusal.code)
