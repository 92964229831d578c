"""Documents that a client names by their SHA-256 instead of sending them, in two forms.

Automatic persisted queries (Apollo's protocol, ``extensions.persistedQuery``), which clients register when they first
use them:

    hash            ──▶  known: it is executed
                    ◀──  unknown: PERSISTED_QUERY_NOT_FOUND
    hash and query  ──▶  the hash is checked, the document validated, executed and stored

Persisted documents (GraphQL over HTTP, appendix A), ``documentId: "sha256:<hash>"`` in place of ``query``: the same
documents, but such a request registers nothing.

The hash is computed from the document, so that an entry never becomes stale, and one caller can register it for all.
It is checked again after it is read from a store, since others may write to that store.

A store is bounded, or it is a Redis that is used for other things as well. So only known callers may register
documents. In passthrough mode only the REST API can tell who is known: it has answered a call of the operation.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from gateway.auth import Viewer
from gateway.errors import BadUserInput, PersistedQueryNotFound, PersistedQueryNotSupported, RequestError
from gateway.execution.documents.cache import DocumentCache
from gateway.execution.documents.trusted import TrustedDocuments
from gateway.execution.operation import Operation
from gateway.settings import GraphQLSettings
from gateway.storage.memory import MemoryStore
from gateway.storage.shared import Shared, Store
from gateway.upstream.call import CallReports

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DOCUMENT_ID_PREFIX = "sha256:"
_MAX_ID_CHARACTERS = 256
_NO_DOCUMENT_ID = (
    "`documentId` must be `sha256:` and the document's SHA-256 in 64 lower-case hexadecimal digits, "
    "or the id of a trusted document."
)


@dataclass(frozen=True, slots=True)
class DocumentName:
    """The name that a client sends for a document: the SHA-256 of its UTF-8 text, in lower-case hexadecimal digits.

    As a ``documentId`` it can also be an id of the manifest of trusted documents.
    """

    digest: str
    is_document_id: bool = False
    is_hash: bool = True


class PersistedOperation(Operation, frozen=True):
    """An operation whose document is named. ``document`` is empty if the request did not contain it."""

    called: DocumentName = DocumentName("")


class PersistedDocuments:
    """Finds documents by their names. The first of ``stores`` is the nearest, and is asked first."""

    def __init__(self, stores: Sequence[Store], documents: DocumentCache, lifetime: float) -> None:
        self._stores = stores
        self._documents = documents
        self._lifetime = lifetime

    async def resolve(self, operation: PersistedOperation) -> Operation:
        """Return the operation with its document; raise PersistedQueryNotFound if that is unknown.

        Raises BadUserInput if the name belongs to another document.
        """
        if not operation.called.is_hash:
            raise BadUserInput(_NO_DOCUMENT_ID)
        if operation.document:
            if _digest(operation.document.encode()) != operation.called.digest:
                raise BadUserInput("`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`.")
            return operation
        document = await self._find(operation.called)
        return msgspec.structs.replace(operation, document=document)

    async def register(self, operation: PersistedOperation, viewer: Viewer, reports: CallReports) -> None:
        """Store the document of an operation that was executed, if the request contained it.

        An invalid document is not stored, nor one of an unknown caller.
        """
        if not operation.document or not _is_known(viewer, reports):
            return
        try:
            self._documents.get(operation.document)
        except RequestError:
            return
        digest = operation.called.digest
        (present,) = await self._stores[0].get([_key(digest)])
        if present is None:
            await self._store(digest, operation.document.encode(), self._stores)

    async def _find(self, called: DocumentName) -> str:
        for index, store in enumerate(self._stores):
            (text,) = await store.get([_key(called.digest)])
            if text is not None and _digest(text) == called.digest:
                await self._store(called.digest, text, self._stores[:index])
                return text.decode()
        raise PersistedQueryNotFound("No document is known by this `documentId`." if called.is_document_id else None)

    async def _store(self, digest: str, text: bytes, stores: Sequence[Store]) -> None:
        for store in stores:
            await store.set(_key(digest), text, self._lifetime)

    async def aclose(self) -> None:
        """Close the stores."""
        for store in self._stores:
            await store.aclose()


class NoPersistedDocuments:
    """Refuses persisted documents (``GATEWAY_PERSISTED_QUERIES=false``); Apollo's clients then send documents."""

    async def resolve(self, operation: PersistedOperation) -> Operation:
        """Raise PersistedQueryNotSupported."""
        raise PersistedQueryNotSupported("`documentId` is not enabled." if operation.called.is_document_id else None)

    async def register(self, operation: PersistedOperation, viewer: Viewer, reports: CallReports) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


class TrustedFirst:
    """Finds trusted documents by their ids, without a store, and passes others to ``otherwise``."""

    def __init__(self, trusted: TrustedDocuments, otherwise: PersistedDocuments | NoPersistedDocuments) -> None:
        self._trusted = trusted
        self._otherwise = otherwise

    async def resolve(self, operation: PersistedOperation) -> Operation:
        """Return the operation with its document; ``otherwise`` resolves a document that is not trusted."""
        text = None if operation.document else self._trusted.by_id.get(operation.called.digest)
        if text is None:
            return await self._otherwise.resolve(operation)
        return msgspec.structs.replace(operation, document=text)

    async def register(self, operation: PersistedOperation, viewer: Viewer, reports: CallReports) -> None:
        """Let ``otherwise`` store the document."""
        await self._otherwise.register(operation, viewer, reports)

    async def aclose(self) -> None:
        """Close ``otherwise``."""
        await self._otherwise.aclose()


DocumentResolver: TypeAlias = PersistedDocuments | NoPersistedDocuments | TrustedFirst
"""Finds the document of an operation that names it."""


def build_persisted(
    settings: GraphQLSettings,
    shared: Shared,
    documents: DocumentCache,
    trusted: TrustedDocuments | None = None,
) -> DocumentResolver:
    """Return the store that ``settings`` ask for, and before it the trusted documents."""
    stored = _build_stored(settings, shared, documents)
    return stored if trusted is None else TrustedFirst(trusted, stored)


def _build_stored(
    settings: GraphQLSettings, shared: Shared, documents: DocumentCache
) -> PersistedDocuments | NoPersistedDocuments:
    """Return a store in this process and, behind it, the cache's Redis if there is one."""
    if not settings.persisted_queries:
        return NoPersistedDocuments()
    stores: list[Store] = [MemoryStore(settings.persisted_queries_max_bytes, shared.timing.clock)]
    in_redis = shared.store("persisted")
    if in_redis is not None:
        stores.append(in_redis)
    return PersistedDocuments(stores, documents, settings.persisted_queries_ttl)


def document_name(document_id: Any, extensions: dict[str, Any] | None) -> DocumentName | None:
    """Return the name of a request's document, None if it has none; raise BadUserInput for an invalid name."""
    if document_id is not None:
        return _from_document_id(document_id)
    if extensions is None or extensions.get("persistedQuery") is None:
        return None
    return _from_extension(extensions["persistedQuery"])


def _from_document_id(value: Any) -> DocumentName:
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARACTERS:
        raise BadUserInput(_NO_DOCUMENT_ID)
    digest = value.removeprefix(_DOCUMENT_ID_PREFIX)
    is_hash = digest != value and _SHA256.fullmatch(digest) is not None
    return DocumentName(digest if is_hash else value, is_document_id=True, is_hash=is_hash)


def _from_extension(value: Any) -> DocumentName:
    if not isinstance(value, dict):
        raise BadUserInput("`extensions.persistedQuery` must be a JSON object.")
    if value.get("version") != 1:
        raise BadUserInput("`extensions.persistedQuery.version` must be 1.")
    digest = value.get("sha256Hash")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise BadUserInput("`extensions.persistedQuery.sha256Hash` must be 64 lower-case hexadecimal digits.")
    return DocumentName(digest)


def _is_known(viewer: Viewer, reports: CallReports) -> bool:
    """Return whether the gateway or the REST API has accepted the caller's credentials.

    A response from the cache says the same: it was cached for these credentials.
    """
    return viewer.authorization is None or any(each.succeeded for each in reports)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _key(digest: str) -> str:
    return f"persisted:{digest}"
