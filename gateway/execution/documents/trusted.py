"""Trusted documents: those that clients were built with, and what is done about others.

    log      ──▶  others are executed, and each is logged once while it is kept
    prefer   ──▶  likewise; trusted ones are held to no limit of documents, and may introspect
    require  ──▶  others are refused before they are parsed

A document is matched by its tokens: white space, commas and comments may differ, and so may the way a string is quoted.
Names, arguments and the order of fields may not. That takes no parser, so that a stranger's text costs no more than to
be read up to the length of the longest document that is trusted. From there on the manifest's text stands for every
spelling of it: else each would be parsed and validated anew, without limits, and push out other documents.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from graphql import GraphQLError, OperationDefinitionNode, Source
from graphql.language import DocumentNode, Lexer, TokenKind

from gateway.compat.graphql_core import canonical_string
from gateway.execution.documents.manifest import TrustedDocument, read_manifest
from gateway.settings import Settings, TrustMode
from gateway.telemetry import logger

_STRINGS = {TokenKind.STRING, TokenKind.BLOCK_STRING}
_MOST_NAMES = 5
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class TrustedDocuments:
    """The documents of a manifest."""

    mode: TrustMode
    by_id: dict[str, str] = field(repr=False)
    """Their texts, by the ids of the manifest and by their SHA-256."""
    longest: int
    _texts: frozenset[str] = field(repr=False)
    _spelt: dict[str, str] = field(repr=False)
    """Their texts, by their tokens."""
    _most_tokens: int
    _most_characters: int

    def knows(self, text: str) -> bool:
        """Return whether ``text`` is one of them, as the manifest has it."""
        return text in self._texts

    def as_written(self, text: str) -> str:
        """Return the manifest's text of which ``text`` is a spelling; where there is none, ``text`` itself."""
        if text in self._texts or len(text) > self._most_characters:
            return text
        try:
            tokens = _tokens_of(text, self._most_tokens)
        except GraphQLError:
            return text
        return text if tokens is None else self._spelt.get(" ".join(tokens), text)

    @property
    def lifts_limits(self) -> bool:
        """Whether trusted documents may be larger than others."""
        return self.mode is not TrustMode.LOG

    @property
    def refuses_others(self) -> bool:
        """Whether no other document is executed."""
        return self.mode is TrustMode.REQUIRE


def build_trusted(settings: Settings) -> TrustedDocuments | None:
    """Return what ``settings`` trust, None where they name nothing; ConfigurationError where the manifest is wrong."""
    if settings.trusted_documents is None:
        return None
    documents = read_manifest(settings.trusted_documents)
    return trust(documents, settings.trusted_documents_mode, settings.max_document)


def trust(documents: Iterable[TrustedDocument], mode: TrustMode, most_characters: int = 0) -> TrustedDocuments:
    """Return what is known of ``documents``; a text of more than ``most_characters`` is looked at if one of them is."""
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
        max(longest, most_characters),
    )


def _tokens_of(text: str, most: int | None = None) -> list[str] | None:
    """Return the tokens of a document, None where there are more than ``most``; GraphQLError where one is none."""
    lexer = Lexer(Source(text))
    tokens: list[str] = []
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        if most is not None and len(tokens) >= most:
            return None
        value = token.value or ""
        tokens.append(canonical_string(value) if token.kind in _STRINGS else value or token.kind.value)
    return tokens


def log_unknown(text: str, node: DocumentNode) -> None:
    """Say in the log that a document is not trusted: by its hash and its operations, whose text is a client's own."""
    names = [
        each.name.value[:_LONGEST_NAME]
        for each in node.definitions
        if isinstance(each, OperationDefinitionNode) and each.name is not None
    ]
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    fields = {"document": digest, "operations": names[:_MOST_NAMES]}
    logger.info("a document is not trusted", extra={"fields": fields})
