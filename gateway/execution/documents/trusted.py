"""Trusted documents: those that clients were built with, and what happens to others.

    log      ──▶  others are executed, and each is logged once while it is cached
    prefer   ──▶  likewise; limits do not apply to trusted documents, and they may use introspection
    require  ──▶  others are refused before they are parsed

A document is matched by its tokens: white space, commas, comments and the quotes of a string may differ; names,
arguments and the order of fields may not. That takes no parser, so that an unknown text is only read, up to the length
of the longest trusted document. After that, the manifest's text replaces every spelling of it. Otherwise each spelling
would be parsed and validated again, without limits, and evict other documents.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from graphql import GraphQLError, OperationDefinitionNode, Source
from graphql.language import DocumentNode, Lexer, TokenKind

from gateway.compat.graphql_core import canonical_string
from gateway.execution.documents.manifest import TrustedDocument, read_manifest
from gateway.settings import GraphQLSettings, TrustMode
from gateway.telemetry import logger

_STRINGS = {TokenKind.STRING, TokenKind.BLOCK_STRING}
_MAX_LOGGED_NAMES = 5
_MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class TrustedDocuments:
    """The documents of a manifest."""

    mode: TrustMode
    by_id: dict[str, str] = field(repr=False)
    """Their texts, by the ids of the manifest and by their SHA-256."""
    longest: int
    _texts: frozenset[str] = field(repr=False)
    _by_tokens: dict[str, str] = field(repr=False)
    """Their texts, by their tokens."""
    _max_tokens: int
    _max_characters: int

    def knows(self, text: str) -> bool:
        """Return whether ``text`` is one of them, exactly as in the manifest."""
        return text in self._texts

    def as_written(self, text: str) -> str:
        """Return the manifest's text of which ``text`` is a spelling; if there is none, ``text`` itself."""
        if text in self._texts or len(text) > self._max_characters:
            return text
        try:
            tokens = _tokens_of(text, self._max_tokens)
        except GraphQLError:
            return text
        return text if tokens is None else self._by_tokens.get(" ".join(tokens), text)

    @property
    def lifts_limits(self) -> bool:
        """Whether limits do not apply to trusted documents."""
        return self.mode is not TrustMode.LOG

    @property
    def refuses_others(self) -> bool:
        """Whether other documents are refused."""
        return self.mode is TrustMode.REQUIRE


def build_trusted(settings: GraphQLSettings, max_document: int) -> TrustedDocuments | None:
    """Return the trusted documents, None if no manifest is set; raise ConfigurationError if the manifest is invalid."""
    if settings.trusted_documents is None:
        return None
    documents = read_manifest(settings.trusted_documents)
    return trust(documents, settings.trusted_documents_mode, max_document)


def trust(documents: Iterable[TrustedDocument], mode: TrustMode, max_characters: int = 0) -> TrustedDocuments:
    """Return these trusted documents. Texts up to ``max_characters``, or the longest of these, are compared to them."""
    texts = [each.text for each in documents]
    by_id = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    by_id.update({each.id: each.text for each in documents if each.id is not None})
    tokens = [_tokens_of(text) or [] for text in texts]
    longest = max(map(len, texts), default=0)
    return TrustedDocuments(
        mode,
        by_id,
        longest,
        frozenset(texts),
        {" ".join(each): text for each, text in zip(tokens, texts, strict=True)},
        max(map(len, tokens), default=0),
        max(longest, max_characters),
    )


def _tokens_of(text: str, limit: int | None = None) -> list[str] | None:
    """Return the tokens of a document, None if there are more than ``limit``; raise GraphQLError for an invalid one."""
    lexer = Lexer(Source(text))
    tokens: list[str] = []
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        if limit is not None and len(tokens) >= limit:
            return None
        value = token.value or ""
        tokens.append(canonical_string(value) if token.kind in _STRINGS else value or token.kind.value)
    return tokens


def log_unknown(text: str, node: DocumentNode) -> None:
    """Log that a document is not trusted: its hash and its operations' names, which are a client's own text."""
    names = [
        each.name.value[:_MAX_NAME_CHARACTERS]
        for each in node.definitions
        if isinstance(each, OperationDefinitionNode) and each.name is not None
    ]
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    fields = {"document": digest, "operations": names[:_MAX_LOGGED_NAMES]}
    logger.info("a document is not trusted", extra={"fields": fields})
