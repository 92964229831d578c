"""Step 5 of the endpoint: respond with the encoded result, its status, its cost header, and an ``ETag``.

``Gateway-Cost: predicted=3, made=2`` counts the REST calls of a request (a dictionary of RFC 9651).
``predicted=5001;or-more`` is where the counting stopped, with ``GATEWAY_COST_MODE=measure`` at five times the limit.
``made`` counts those that went to the REST API, not what the cache or another request answered. An incremental
response lacks it: its headers are sent before the last call is made.

A GET that names its document has a short URL that does not change, so its response can be revalidated (RFC 9110,
section 13): an ``ETag``, and 304 where nothing has changed. The operation is executed nevertheless, so that the
permissions of the caller are checked each time; what is saved is the transfer. A cache may keep such a response for
one caller only, and must revalidate it (``private, no-cache``); it must not keep one with an error.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.compat.starlette import EncodedResponse
from gateway.errors import InternalError
from gateway.execution.documents.persisted import PersistedOperation
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed, sum_of
from gateway.telemetry import logger
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.batching import Batch
from gateway.web.graphql.compression import compress
from gateway.web.graphql.multipart import MultipartResponse
from gateway.web.graphql.negotiation import GRAPHQL_RESPONSE, JSON, error_media_type
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.request import HttpError, HttpRequest

_CONTENT_TYPES = {name: f"{name}; charset=utf-8".encode() for name in (JSON, GRAPHQL_RESPONSE)}
_VARY = (b"vary", b"accept")
_COST = b"gateway-cost"


AnyResponse = Response | MultipartResponse


@dataclass(frozen=True, slots=True)
class Responder:
    """Builds responses. ``compress_from`` is the size of the smallest one that is compressed, in bytes."""

    reporter: OperationReporter
    compress_from: float = math.inf

    async def respond(
        self, requested: Operation | Batch, results: tuple[Result, ...], request: HttpRequest, media_type: str
    ) -> AnyResponse:
        """Return the response with the results of what was requested."""
        response = _response(requested, results, media_type)
        _add_cost(response, results)
        if isinstance(response, MultipartResponse):
            return response
        if request.method == "GET" and isinstance(requested, PersistedOperation):
            _make_conditional(response, results, request.headers.get("if-none-match"))
        if len(response.body) >= self.compress_from:
            await compress(response, request.headers.get("accept-encoding"))
        return response

    async def respond_with_page(self, page: GraphiQLPage, request: HttpRequest) -> Response:
        """Return the response with GraphiQL's page."""
        response = page.response()
        if len(response.body) >= self.compress_from:
            await compress(response, request.headers.get("accept-encoding"))
        return response

    def fail(self, exc: Exception, request: HttpRequest) -> Response:
        """Return the response of a request that failed: an HttpError's, or HTTP 500 for a bug, which is logged."""
        if isinstance(exc, HttpError):
            payload = failed(exc.error, request.id).payload
            body = [payload] * exc.members if exc.members else payload
            response = _json(body, exc.status, error_media_type(request))
            response.headers.update(exc.headers)
            self.reporter.refused(request.id, exc)
            return response
        logger.error("a request failed", exc_info=exc, extra={"fields": {"requestId": request.id}})
        return _json(failed(InternalError(), request.id).payload, 500, error_media_type(request))


def _response(requested: Operation | Batch, results: tuple[Result, ...], media_type: str) -> AnyResponse:
    if isinstance(requested, Batch):
        return _json([result.payload for result in results], 200, media_type)
    (result,) = results
    if result.subsequent is not None:
        return MultipartResponse(result.payload, result.subsequent)
    return _json(result.payload, _status(result, media_type), media_type)


def _status(result: Result, media_type: str) -> int:
    """Return the HTTP status (GraphQL over HTTP, section Status Codes).

    A request error is 400 as ``application/graphql-response+json``. As ``application/json`` it is 200, since a client
    may take another status for the failure of a proxy; only a request that names no operation is 400.
    """
    if not result.is_request_error:
        return 200
    if media_type == GRAPHQL_RESPONSE or result.is_unanswerable:
        return 400
    return 200


def _add_cost(response: AnyResponse, results: tuple[Result, ...]) -> None:
    """Add the cost of the operations, where any is predicted."""
    costs = [result.cost for result in results if result.cost is not None]
    if not costs:
        return
    total = costs[0] if len(costs) == 1 else sum_of(costs)
    or_more = ";or-more" if total.or_more else ""
    made = "" if total.actual is None else f", made={total.actual}"
    response.raw_headers.append((_COST, f"predicted={total.predicted}{or_more}{made}".encode()))


def _make_conditional(response: Response, results: tuple[Result, ...], if_none_match: str | None) -> None:
    """Add the ``ETag``, and make the response 304 without a body if the client has it; forbid to cache errors."""
    if any("errors" in result.payload for result in results):
        response.headers["cache-control"] = "no-store"
        return
    tag = _weak_tag(response)
    response.headers["etag"] = tag
    response.headers["cache-control"] = "private, no-cache"
    response.headers["vary"] = "accept, accept-encoding"  # also with 304, which compression does not see
    if if_none_match is not None and _matches(tag, if_none_match):
        response.status_code = 304
        response.body = b""
        del response.headers["content-type"], response.headers["content-length"]


def _weak_tag(response: Response) -> str:
    """Hash the content. The tag is weak: it is the same whether compressed or not (section 8.8.1)."""
    text = response.headers["content-type"].encode() + b"\n" + response.body
    return f'W/"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'


def _matches(tag: str, if_none_match: str) -> bool:
    """Compare weakly, as section 13.1.2 requires: whether a tag is weak makes no difference."""
    tags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


def _json(payload: Any, status: int, media_type: str) -> Response:
    headers = [(b"content-type", _CONTENT_TYPES[media_type]), _VARY]
    return EncodedResponse(msgspec.json.encode(payload), status, headers)
