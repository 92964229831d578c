"""The endpoint: decode, authenticate, build the context, execute, encode (GraphQL over HTTP).

request ─▶ viewer ─▶ method and content type ─▶ body ─▶ operation ─▶ engine ─▶ status and media type ─▶ response
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.auth import Authenticator, Viewer
from gateway.errors import BadUserInput, BodyTooLarge, GatewayError, InternalError, RequestError, UrlTooLong
from gateway.execution.documents.persisted import (
    NoPersistedDocuments,
    PersistedDocuments,
    PersistedOperation,
    TrustedFirst,
)
from gateway.execution.engine import Engine
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed
from gateway.schema.resolvers.context import ContextFactory, OperationContext
from gateway.telemetry import logger
from gateway.upstream.call import CallReports, Origin
from gateway.web.authentication import viewer_of
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.batching import Batch, request_of_body, run_batch
from gateway.web.graphql.compression import compress
from gateway.web.graphql.conditional import forbid_caching, make_conditional
from gateway.web.graphql.cost import add_cost
from gateway.web.graphql.decode import (
    ClientDisconnected,
    operation_of_query_string,
    read_body,
    request_headers,
    while_connected,
)
from gateway.web.graphql.multipart import MultipartResponse, takes_parts
from gateway.web.graphql.negotiation import GRAPHQL_RESPONSE, HTML, JSON, negotiate, sensible
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.http_error import HttpError
from gateway.web.rate_limit import CallerRate, NoCallerRate, RawHeaders
from gateway.web.security.csrf import CrossSite

_ANSWERS = (JSON, GRAPHQL_RESPONSE)
_CONTENT_TYPES = {name: f"{name}; charset=utf-8".encode() for name in _ANSWERS}
_ANSWERS_AND_PAGE = (JSON, GRAPHQL_RESPONSE, HTML)


@dataclass(frozen=True, slots=True)
class GraphQLEndpoint:
    """The ASGI application at ``/graphql``. ``page`` is what a browser gets, None for nothing."""

    engine: Engine
    authenticator: Authenticator
    contexts: ContextFactory
    max_body: int
    persisted: PersistedDocuments | NoPersistedDocuments | TrustedFirst
    reporter: OperationReporter
    cross_site: CrossSite
    """Which GETs are refused because a page of another site may have caused them."""
    max_batch: int = 1
    """How many operations one POST may hold; 1 means no batches."""
    incremental: bool = False
    """Whether answers may come in parts."""
    compress_from: float = math.inf
    """The smallest answer that is compressed, in bytes."""
    page: GraphiQLPage | None = None
    rate: CallerRate | NoCallerRate = field(default_factory=NoCallerRate)
    """How many operations each caller may ask for."""
    explain: bool = False
    """Whether a request may ask for its REST calls with ``Gateway-Explain: 1``."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing that goes wrong here reaches a client as more than a JSON error."""
        headers = request_headers(scope)
        identifier: str = scope["request_id"]
        standing: RawHeaders = []
        response: Response | MultipartResponse
        try:
            response = await self._respond(scope, headers, receive, standing)
            if isinstance(response, Response) and len(response.body) >= self.compress_from:
                await compress(response, headers.get("accept-encoding"))
        except ClientDisconnected:
            return
        except HttpError as exc:
            response = _encode(failed(exc.error, identifier), _error_type(headers), exc.status)
            response.headers.update(exc.headers)
            self.reporter.refused(identifier, exc)
        except Exception:  # noqa: BLE001 - the outermost boundary: a client is told, the log has the details
            logger.exception("a request failed", extra={"fields": {"requestId": identifier}})
            response = _encode(failed(InternalError(), identifier), _error_type(headers), 500)
        response.raw_headers.extend(standing)
        self.reporter.responded(response.status_code)
        await response(scope, receive, send)

    async def _respond(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, standing: RawHeaders
    ) -> Response | MultipartResponse:
        """Return the answer; ``standing`` gets the headers of the caller's rate, which a refusal needs as well."""
        reads_only = scope["method"] == "GET"
        offered = _ANSWERS_AND_PAGE if reads_only and self.page is not None else _ANSWERS
        media_type = negotiate(sensible(headers.get("accept")), offered)
        if media_type is None:
            raise HttpError(406, BadUserInput(f"Answers come as one of {', '.join(offered)}."))
        if media_type == HTML and self.page is not None:
            return self.page.response()
        if reads_only:
            self.cross_site.check(headers)
        # Before anything of the body is read: strangers cost little, and learn nothing.
        viewer = await viewer_of(self.authenticator, scope, headers)
        standing += await self.rate.take(viewer, scope)
        operations = 1
        try:
            request = await self._request(scope, headers, receive)
            if isinstance(request, Batch) and len(request.members) > 1:
                standing.clear()  # a refusal brings its own
                standing += await self.rate.take_rest(viewer, scope, len(request.members))
                operations = len(request.members)
            return await self._run(request, viewer, scope, headers, receive, media_type)
        finally:
            await self.rate.settle(viewer, scope, operations)

    async def _run(
        self,
        request: Operation | Batch,
        viewer: Viewer,
        scope: Scope,
        headers: Mapping[str, str],
        receive: Receive,
        media_type: str,
    ) -> Response | MultipartResponse:
        reads_only = scope["method"] == "GET"
        if isinstance(request, Batch):
            answer = partial(self._answer, viewer=viewer, scope=scope, headers=headers, reads_only=False)
            results = await while_connected(receive, run_batch(request, answer, scope["request_id"]))
            together = _response([result.payload for result in results], media_type, 200)
            add_cost(together, [result.cost for result in results])
            return together
        in_parts = self.incremental and takes_parts(sensible(headers.get("accept")))
        work = self._answer(request, viewer, scope, headers, reads_only=reads_only, in_parts=in_parts)
        result = await while_connected(receive, work)
        if result.subsequent is not None:
            parts = MultipartResponse(result.payload, result.subsequent)
            add_cost(parts, [result.cost])
            return parts
        response = _encode(result, media_type, _status(result, media_type))
        add_cost(response, [result.cost])
        if reads_only and isinstance(request, PersistedOperation):
            if "errors" in result.payload:
                forbid_caching(response)
            else:
                make_conditional(response, headers.get("if-none-match"))
        return response

    async def _request(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Operation | Batch:
        try:
            if scope["method"] == "GET":
                return operation_of_query_string(scope["query_string"])
            if scope["method"] != "POST":
                message = "GraphQL is asked with GET or POST."
                raise HttpError(405, BadUserInput(message), {"allow": "GET, POST"})
            _require_json(headers.get("content-type"))
            return request_of_body(await read_body(receive, self.max_body), self.max_batch)
        except BodyTooLarge as exc:
            raise HttpError(413, exc) from exc
        except UrlTooLong as exc:
            raise HttpError(414, exc) from exc
        except BadUserInput as exc:
            raise HttpError(400, exc) from exc

    async def _answer(
        self,
        operation: Operation,
        viewer: Viewer,
        scope: Scope,
        headers: Mapping[str, str],
        *,
        reads_only: bool,
        in_parts: bool = False,
    ) -> Result:
        context = self.contexts.build(viewer, scope["request_id"], _timeout(headers.get("gateway-timeout")))
        work = self._execute(operation, context, headers, reads_only=reads_only, in_parts=in_parts)
        try:
            return await self.reporter.report(operation, context, headers, work)
        finally:
            self.rate.learn(viewer, context.reports)

    async def _execute(
        self,
        operation: Operation,
        context: OperationContext,
        headers: Mapping[str, str],
        *,
        reads_only: bool,
        in_parts: bool,
    ) -> Result:
        named = operation if isinstance(operation, PersistedOperation) else None
        if named is not None:
            try:
                operation = await self.persisted.resolve(named)
            except GatewayError as exc:
                return failed(exc, context.request_id, is_unanswerable=isinstance(exc, BadUserInput))
        if reads_only and not self._is_query(operation):
            raise HttpError(405, BadUserInput("Only queries can be sent with GET."), {"allow": "POST"})
        result = await self.engine.execute(operation, context, incremental=in_parts)
        if named is not None:
            await self.persisted.register(named, context)
        explain = self.explain and headers.get("gateway-explain") == "1"
        result.payload.update(_extensions(context.reports, explain=explain))
        return result

    def _is_query(self, operation: Operation) -> bool:
        try:
            return self.engine.documents.get(operation.document).is_query(operation.name)
        except RequestError:
            return True  # the engine says what is wrong with it


def _require_json(content_type: str | None) -> None:
    """A body must be JSON, and say so: a browser can send any other type across origins unasked (CSRF)."""
    name, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if name.strip().lower() != JSON or charset not in {"", "utf-8", "utf8"}:
        message = "The request's body must be JSON in UTF-8, with `Content-Type: application/json`."
        raise HttpError(415, BadUserInput(message), {"accept-post": JSON})


def _timeout(value: str | None) -> float | None:
    """Return the seconds that a caller gives the operation; HTTP 400 for what is no such number."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise HttpError(400, BadUserInput("`Gateway-Timeout` must be a number of seconds above 0, such as 2.5."))
    return seconds


def _extensions(reports: CallReports, *, explain: bool) -> dict[str, Any]:
    """Return what the response tells of its REST calls: stale answers always, every call where it was asked for."""
    stale = [report.as_dict() for report in reports if report.origin is Origin.STALE]
    extensions: dict[str, Any] = {}
    if stale:
        extensions["stale"] = [{"route": each["route"], "ageSeconds": each["ageSeconds"]} for each in stale]
    if explain:
        extensions["upstream"] = [report.as_dict() for report in reports]
    return {"extensions": extensions} if extensions else {}


def _status(result: Result, media_type: str) -> int:
    """Return the HTTP status (GraphQL over HTTP, section Status Codes).

    Request errors are 400 as ``application/graphql-response+json``. As ``application/json``, where a client may take
    any other status than 200 for a failure of something in between, only what is no GraphQL at all is.
    """
    if not result.is_request_error:
        return 200
    if media_type == GRAPHQL_RESPONSE or result.is_unanswerable:
        return 400
    return 200


def _error_type(headers: Mapping[str, str]) -> str:
    """Return the media type of an HTTP error: as plain JSON, Apollo Client shows its status and none of its errors."""
    return negotiate(sensible(headers.get("accept")), _ANSWERS) or JSON


def _encode(result: Result, media_type: str, status: int) -> Response:
    return _response(result.payload, media_type, status)


def _response(payload: Any, media_type: str, status: int) -> Response:
    return _Encoded(msgspec.json.encode(payload), status, media_type)


class _Encoded(Response):
    """A response whose body is encoded and whose headers are known: Starlette need not work them out."""

    def __init__(self, body: bytes, status: int, media_type: str) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        length = (b"content-length", str(len(body)).encode())
        self.raw_headers = [length, (b"content-type", _CONTENT_TYPES[media_type]), (b"vary", b"accept")]
