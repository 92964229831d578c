"""Documents that a client names by their SHA-256 instead of sending them, in two forms.

Automatic persisted queries (Apollo's protocol, ``extensions.persistedQuery``), in which clients teach the gateway:

    hash            ──▶  known: it is executed
                    ◀──  unknown: PERSISTED_QUERY_NOT_FOUND
    hash and query  ──▶  the hash is checked, the document validated and kept, and executed

Persisted documents (GraphQL over HTTP, appendix A), ``documentId: "sha256:<hash>"`` in place of ``query``: the same
documents, but nothing is learned by it.

A name says what it stands for, so that no entry is ever out of date, and what one caller has taught is good for all. It
is checked again when it comes out of a store that others may write to.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadUserInput, PersistedQueryNotFound, PersistedQueryNotSupported
from gateway.execution.documents import Documents, RequestError
from gateway.execution.engine import Operation
from gateway.settings import Settings
from gateway.telemetry import Counts
from gateway.upstream.stores import MemoryStore, Store, shared_store
from gateway.upstream.timing import Timing

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DOCUMENT_ID_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class DocumentName:
    """What a client calls a document: the SHA-256 of its UTF-8 text, in lower-case hexadecimal digits."""

    digest: str
    is_document_id: bool = False


@dataclass(frozen=True, slots=True)
class PersistedOperation(Operation):
    """An operation whose document was named. ``document`` is empty where it did not come with the request."""

    called: DocumentName = DocumentName("")


class PersistedDocuments:
    """Knows documents by their names. Of ``stores`` the nearest is the first; one further away is asked less often."""

    def __init__(self, stores: Sequence[Store], documents: Documents, lifetime: float) -> None:
        self._stores = stores
        self._documents = documents
        self._lifetime = lifetime

    async def resolve(self, operation: PersistedOperation) -> Operation:
        """Return the operation with its document; PersistedQueryNotFound where that is unknown.

        Raises BadUserInput where the name is that of another document.
        """
        if operation.document:
            await self._learn(operation.called.digest, operation.document)
            return operation
        document = await self._find(operation.called)
        return PersistedOperation(document, operation.name, operation.variables, operation.called)

    async def _learn(self, digest: str, document: str) -> None:
        """Keep the document, unless it is not valid, of which the engine tells the client."""
        text = document.encode()
        if hashlib.sha256(text).hexdigest() != digest:
            raise BadUserInput("`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`.")
        try:
            self._documents.get(document)
        except RequestError:
            return
        (present,) = await self._stores[0].get([_key(digest)])
        if present is None:
            await self._keep(digest, text, self._stores)

    async def _find(self, called: DocumentName) -> str:
        for index, store in enumerate(self._stores):
            (text,) = await store.get([_key(called.digest)])
            if text is not None and hashlib.sha256(text).hexdigest() == called.digest:
                await self._keep(called.digest, text, self._stores[:index])
                return text.decode()
        raise PersistedQueryNotFound("No document is known by this `documentId`." if called.is_document_id else None)

    async def _keep(self, digest: str, text: bytes, stores: Sequence[Store]) -> None:
        for store in stores:
            await store.set(_key(digest), text, self._lifetime)

    async def aclose(self) -> None:
        """Let go of the stores."""
        for store in self._stores:
            await store.aclose()


class NoPersistedDocuments:
    """Says that there are none (``GATEWAY_PERSISTED_QUERIES=false``); Apollo's clients then go on without."""

    async def resolve(self, operation: PersistedOperation) -> Operation:
        """Raise PersistedQueryNotSupported."""
        raise PersistedQueryNotSupported("`documentId` is not enabled." if operation.called.is_document_id else None)

    async def aclose(self) -> None:
        """Do nothing."""


def build_persisted(
    settings: Settings, documents: Documents, timing: Timing
) -> PersistedDocuments | NoPersistedDocuments:
    """Return what ``settings`` ask for: a store in this process, and behind it the cache's Redis where there is one."""
    if not settings.persisted_queries:
        return NoPersistedDocuments()
    stores: list[Store] = [MemoryStore(settings.persisted_queries_max_bytes, timing.clock)]
    shared = shared_store(settings, Counts(), timing.clock)
    if shared is not None:
        stores.append(shared)
    return PersistedDocuments(stores, documents, settings.persisted_queries_ttl)


def document_name(document_id: Any, extensions: dict[str, Any] | None) -> DocumentName | None:
    """Return what a request calls its document, None where it does not; BadUserInput where that is no name."""
    if document_id is not None:
        return _from_document_id(document_id)
    if extensions is None or extensions.get("persistedQuery") is None:
        return None
    return _from_extension(extensions["persistedQuery"])


def _from_document_id(value: Any) -> DocumentName:
    if isinstance(value, str) and value.startswith(_DOCUMENT_ID_PREFIX):
        digest = value.removeprefix(_DOCUMENT_ID_PREFIX)
        if _SHA256.fullmatch(digest):
            return DocumentName(digest, is_document_id=True)
    raise BadUserInput("`documentId` must be `sha256:` and the document's SHA-256 in 64 lower-case hexadecimal digits.")


def _from_extension(value: Any) -> DocumentName:
    if not isinstance(value, dict):
        raise BadUserInput("`extensions.persistedQuery` must be a JSON object.")
    if value.get("version") != 1:
        raise BadUserInput("`extensions.persistedQuery.version` must be 1.")
    digest = value.get("sha256Hash")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise BadUserInput("`extensions.persistedQuery.sha256Hash` must be 64 lower-case hexadecimal digits.")
    return DocumentName(digest)


def _key(digest: str) -> str:
    return f"persisted:{digest}"
