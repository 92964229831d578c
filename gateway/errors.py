"""The hierarchy of the gateway's errors. Each class has its code and its default message.

    GatewayError
    ├── Unauthenticated             UNAUTHENTICATED             no credentials, or rejected ones
    ├── Forbidden                   FORBIDDEN                   the credentials do not permit this
    ├── BadUserInput                BAD_USER_INPUT              the operation or its arguments are wrong
    │   └── LimitExceeded           a code per limit            the request exceeds a limit
    ├── RateLimited                 RATE_LIMITED                too many requests
    ├── UpstreamTimeout             UPSTREAM_TIMEOUT            no response in time
    ├── UpstreamUnavailable         UPSTREAM_UNAVAILABLE        no connection, 502/503/504, queue full
    │   └── NoDescriptorLeft        OUT_OF_DESCRIPTORS          the gateway has too many files open
    ├── UpstreamInvalidResponse     UPSTREAM_INVALID_RESPONSE   the body is not as documented
    ├── UpstreamError               UPSTREAM_ERROR              any other failure of the REST API
    ├── RequestError                a code per reason           the operation cannot begin
    │   ├── DocumentSyntaxError     GRAPHQL_PARSE_FAILED        the document is not GraphQL
    │   ├── DocumentInvalid         GRAPHQL_VALIDATION_FAILED   the document does not fit the schema
    │   └── UnknownOperation        BAD_USER_INPUT              the document lacks the requested operation
    ├── MutationsDisabled           MUTATIONS_DISABLED          this gateway only reads
    ├── IdempotencyMismatch         IDEMPOTENCY_MISMATCH        the key was used with other input
    ├── IdempotencyUnavailable      IDEMPOTENCY_UNAVAILABLE     keys cannot be kept here, or not now
    ├── UploadsUnavailable          UPLOADS_UNAVAILABLE         uploaded files cannot be kept now
    ├── CrossSiteRequest            CSRF_PREVENTED              a page of another site may have sent it
    ├── DocumentNotTrusted          DOCUMENT_NOT_TRUSTED        only trusted documents are executed
    ├── PersistedQueryNotFound      PERSISTED_QUERY_NOT_FOUND   the hash is unknown: send the document
    ├── PersistedQueryNotSupported  PERSISTED_QUERY_NOT_SUPPORTED   hashes are disabled: send documents
    ├── SubscriptionsDisabled       SUBSCRIPTIONS_DISABLED      this gateway has no subscriptions
    ├── SubscriptionInterrupted     SUBSCRIPTION_INTERRUPTED    it ended before its time: subscribe again
    └── InternalError               INTERNAL_ERROR              a bug of the gateway
    ConfigurationError              (never reaches a client)    a setting is wrong; the program does not start

An exception is a plain class, never a frozen dataclass: contextlib sets ``__traceback__`` on an exception that leaves a
``@contextmanager``, and a frozen dataclass raises a TypeError instead.
Every message is the gateway's own text: it never contains upstream text, an address, a credential or a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # settings need errors, and commands that only read settings should not wait for graphql-core
    from graphql import GraphQLError


@dataclass(frozen=True, slots=True)
class UpstreamFailure:
    """How the REST API reported a failure: ``extensions.upstream`` of the GraphQL error.

    ``status`` is the HTTP status, ``codes`` the upstream error codes, deprecated ones only if there is no other.
    """

    status: int
    codes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"status": self.status, "codes": list(self.codes)}


class GatewayError(Exception):
    """A failure that the client sees; ``extensions`` is part of the GraphQL error (GraphQL spec, section 7.1.2)."""

    code: str = "INTERNAL_ERROR"
    default_message: ClassVar[str] = "The gateway failed."
    retryable: ClassVar[bool] = False
    """Whether a retry of the same call may succeed."""

    def __init__(
        self, message: str | None = None, *, upstream: UpstreamFailure | None = None, retry_after: float | None = None
    ) -> None:
        """Create the error; ``retry_after`` is in seconds."""
        super().__init__(message or self.default_message)
        self.in_doubt = False
        """Whether a write was sent, and no response says if the REST API carried it out; False for one never sent."""
        self.upstream = upstream
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """The public message."""
        return str(self.args[0])

    @property
    def extensions(self) -> dict[str, Any]:
        """The machine-readable part: ``code``, and ``retryAfter`` and ``upstream`` where they are known."""
        extensions: dict[str, Any] = {"code": self.code}
        if self.retry_after is not None:
            extensions["retryAfter"] = self.retry_after
        if self.upstream is not None:
            extensions["upstream"] = self.upstream.as_dict()
        return extensions


class Unauthenticated(GatewayError):
    """The request has no credentials, or they are rejected (HTTP 401)."""

    code = "UNAUTHENTICATED"
    default_message = "The REST API rejected the credentials."


class Forbidden(GatewayError):
    """The credentials are valid, but do not permit this (HTTP 403)."""

    code = "FORBIDDEN"
    default_message = "The credentials do not give access to this."


class BadUserInput(GatewayError):
    """The request or an argument is wrong (HTTP 400, 405, 406 or 415), or the REST API said so (400, 409 or 422)."""

    code = "BAD_USER_INPUT"
    default_message = "The REST API refused the arguments."


class LimitExceeded(BadUserInput):
    """The request exceeds a limit; each limit is a class below, with its own code."""


class BodyTooLarge(LimitExceeded):
    """The request's body has too many bytes, or too many JSON objects and lists (HTTP 413)."""

    code = "MAX_BODY_LIMIT"


class UrlTooLong(LimitExceeded):
    """The query string of a GET is too long (HTTP 414)."""

    code = "MAX_URL_LIMIT"


class BatchTooLarge(LimitExceeded):
    """A batch has too many operations (HTTP 400)."""

    code = "MAX_BATCH_LIMIT"


class DocumentTooLong(LimitExceeded):
    """The document has too many characters."""

    code = "MAX_DOCUMENT_LIMIT"


class TooManyTokens(LimitExceeded):
    """The document has too many lexical tokens."""

    code = "MAX_TOKENS_LIMIT"


class TooDeep(LimitExceeded):
    """An operation's fields are nested too deeply."""

    code = "MAX_DEPTH_LIMIT"


class TooManyFields(LimitExceeded):
    """The document has too many fields, with its fragments written out."""

    code = "MAX_FIELDS_LIMIT"


class TooManyAliases(LimitExceeded):
    """The document has too many aliases, with its fragments written out, or introspection has any."""

    code = "MAX_ALIASES_LIMIT"


class TooManyRootFields(LimitExceeded):
    """An operation selects too many root fields."""

    code = "MAX_ROOT_FIELDS_LIMIT"


class TooManyDirectives(LimitExceeded):
    """The document has too many directives, with its fragments written out."""

    code = "MAX_DIRECTIVES_LIMIT"


class TooManyOperations(LimitExceeded):
    """The document has too many operations."""

    code = "MAX_OPERATIONS_LIMIT"


class TooManyComparisons(LimitExceeded):
    """Too many fields of the document overlap, and each pair has to be compared."""

    code = "MAX_COMPARISONS_LIMIT"


class ListTooLong(LimitExceeded):
    """A list in an argument or a variable has too many items."""

    code = "MAX_LIST_LIMIT"


class PageTooLarge(LimitExceeded):
    """A page of a connection is too large."""

    code = "MAX_PAGE_LIMIT"


class CostTooHigh(LimitExceeded):
    """The operation would make too many REST calls."""

    code = "MAX_COST_LIMIT"


class TooManyUpstreamBytes(LimitExceeded):
    """The REST responses of an operation are too large together."""

    code = "MAX_UPSTREAM_BYTES_LIMIT"


class ResponseTooLarge(LimitExceeded):
    """The response of an operation would have too many fields, with those of each item of its lists, or bytes."""

    code = "MAX_RESPONSE_LIMIT"


class TooManySubscriptions(LimitExceeded):
    """The worker has as many subscriptions as it may have; try again, perhaps on another (HTTP 503)."""

    code = "MAX_SUBSCRIPTIONS_LIMIT"
    retryable = True


class TooManySubscriptionsOfCaller(LimitExceeded):
    """The caller has as many subscriptions as it may have (HTTP 429)."""

    code = "MAX_CALLER_SUBSCRIPTIONS_LIMIT"


class TooManySubscriptionsOnConnection(LimitExceeded):
    """The connection has as many subscriptions as it may have."""

    code = "MAX_CONNECTION_SUBSCRIPTIONS_LIMIT"


class RateLimited(GatewayError):
    """The caller sends too many requests (HTTP 429), or the REST API limits the gateway's (429)."""

    code = "RATE_LIMITED"
    default_message = "The REST API limits the rate of calls."
    retryable = True


class UpstreamTimeout(GatewayError):
    """No response before the deadline of the attempt or of the operation, or the REST API said so (408)."""

    code = "UPSTREAM_TIMEOUT"
    default_message = "The REST API did not answer in time."
    retryable = True


class UpstreamUnavailable(GatewayError):
    """No connection, a dropped one, 502, 503 or 504; too many calls wait or fail; or no token key yet (HTTP 503)."""

    code = "UPSTREAM_UNAVAILABLE"
    default_message = "The REST API cannot be reached."
    retryable = True


class NoDescriptorLeft(UpstreamUnavailable):
    """The gateway's process has too many files open to call the REST API, which has no part in it."""

    code = "OUT_OF_DESCRIPTORS"
    default_message = "The gateway has too many files open."


class UpstreamInvalidResponse(GatewayError):
    """The body is not the JSON that the REST API documents, or a value in it has the wrong type."""

    code = "UPSTREAM_INVALID_RESPONSE"
    default_message = "The REST API sent something else than it promises."


class UpstreamError(GatewayError):
    """Any other failure that the REST API reports."""

    code = "UPSTREAM_ERROR"
    default_message = "The REST API failed."


class RequestError(GatewayError):
    """The operation cannot begin (GraphQL spec, section 7.1.3: request errors).

    ``errors`` name their places in the document. ``code`` is the code of all of them, of the class by default.
    """

    default_message = "The operation cannot begin."

    def __init__(self, errors: "Sequence[GraphQLError]", code: str | None = None) -> None:
        super().__init__()
        self.errors = tuple(errors)
        self.code = code or self.code


class DocumentSyntaxError(RequestError):
    """The document is not GraphQL."""

    code = "GRAPHQL_PARSE_FAILED"


class DocumentInvalid(RequestError):
    """The document does not fit the schema."""

    code = "GRAPHQL_VALIDATION_FAILED"


class UnknownOperation(RequestError):
    """The document does not hold the requested operation, or holds several and the request names none."""

    code = BadUserInput.code


class UploadsUnavailable(GatewayError):
    """Uploaded files cannot be kept: the disk is full, or fails (HTTP 503). Nothing was sent."""

    code = "UPLOADS_UNAVAILABLE"
    default_message = "Uploaded files cannot be kept now. Nothing was sent."


class CrossSiteRequest(GatewayError):
    """A page of another site may have made a browser send this request (HTTP 403)."""

    code = "CSRF_PREVENTED"
    default_message = (
        "Another site may have sent this request. Use POST, or a header such as `apollo-require-preflight: true`."
    )


class MutationsDisabled(GatewayError):
    """The operator has not allowed mutations (``GATEWAY_MUTATIONS``). Nothing was sent."""

    code = "MUTATIONS_DISABLED"
    default_message = "This gateway only reads: mutations are not enabled."


class IdempotencyMismatch(GatewayError):
    """The same idempotency key came with other input within a day. Nothing was sent."""

    code = "IDEMPOTENCY_MISMATCH"
    default_message = "This idempotency key was used with other input. Use a new key for each change."


class IdempotencyUnavailable(GatewayError):
    """Idempotency keys cannot be kept: workers or gateways share no Redis, or it does not respond. Nothing was sent."""

    code = "IDEMPOTENCY_UNAVAILABLE"
    default_message = "Idempotency keys need a Redis that all workers and gateways share. Nothing was sent."


class DocumentNotTrusted(GatewayError):
    """The gateway executes only trusted documents, and this is not one of them."""

    code = "DOCUMENT_NOT_TRUSTED"
    default_message = "Only trusted documents are executed, and this is none."


class PersistedQueryNotFound(GatewayError):
    """The hash in the request names no known document. Clients recognize the message or the code."""

    code = "PERSISTED_QUERY_NOT_FOUND"
    default_message = "PersistedQueryNotFound"


class PersistedQueryNotSupported(GatewayError):
    """Documents cannot be named by their hashes here. Clients recognize the message or the code."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"
    default_message = "PersistedQueryNotSupported"


class SubscriptionsDisabled(GatewayError):
    """Subscriptions are off."""

    code = "SUBSCRIPTIONS_DISABLED"
    default_message = "This gateway has no subscriptions: GATEWAY_SUBSCRIPTIONS is off."


class SubscriptionInterrupted(GatewayError):
    """A subscription ended although there may be more results, or cannot begin here: subscribe again (HTTP 503)."""

    code = "SUBSCRIPTION_INTERRUPTED"
    retryable = True


class InternalError(GatewayError):
    """A bug of the gateway. The log has the details under the same request id (HTTP 500)."""

    code = "INTERNAL_ERROR"
    default_message = "The gateway failed. Its log has the details under this request id."


class ConfigurationError(Exception):
    """One or more settings are wrong; ``problems`` describes each, and how to correct it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
