"""The endpoint: GraphQL over HTTP in five steps, each in a module of its own.

authenticate          admit              read                execute             respond
web/authentication ─▶ web/rate_limit ─▶ graphql/decode ─▶ graphql/execute ─▶ graphql/response

The media type of the response is negotiated first: it is also that of every refusal.
"""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from gateway.web.authentication import Authentication
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.batching import Batch
from gateway.web.graphql.decode import RequestReader
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.negotiation import HTML, require_media_type
from gateway.web.graphql.response import AnyResponse, Responder
from gateway.web.rate_limit import Admission, NoRateLimit, RateLimit
from gateway.web.request import ClientDisconnected, HttpRequest


@dataclass(frozen=True, slots=True)
class GraphQLEndpoint:
    """The ASGI application at ``/graphql``. A browser that opens it gets ``page``, if there is one."""

    authentication: Authentication
    rate_limit: RateLimit | NoRateLimit
    reader: RequestReader
    runner: OperationRunner
    responder: Responder
    page: GraphiQLPage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that hangs up gets no response."""
        try:
            response = await self._response(HttpRequest.of(scope, receive))
        except ClientDisconnected:
            return
        self.responder.reporter.responded(response.status_code)
        await response(scope, receive, send)

    async def _response(self, request: HttpRequest) -> AnyResponse:
        """Return the response. Every failure becomes one, with the headers of the rate limit once they are known."""
        admission: Admission | None = None
        response: AnyResponse
        try:
            media_type = require_media_type(request, has_page=self.page is not None)
            if media_type == HTML and self.page is not None:
                return await self.responder.respond_with_page(self.page, request)
            viewer = await self.authentication.authenticate(request)
            admission = await self.rate_limit.admit(viewer, request)
            response = await self._admitted(request, admission, media_type)
        except ClientDisconnected:
            raise
        except Exception as exc:  # noqa: BLE001 - the outermost boundary: the client gets HTTP 500, the log the details
            response = self.responder.fail(exc, request)
        if admission is not None:
            response.raw_headers.extend(admission.headers)
        return response

    async def _admitted(self, request: HttpRequest, admission: Admission, media_type: str) -> AnyResponse:
        try:
            requested = await self.reader.read(request)
            if isinstance(requested, Batch) and len(requested.members) > 1:
                await admission.add_batch(len(requested.members))
            results = await self.runner.execute(requested, request, admission)
            return await self.responder.respond(requested, results, request, media_type)
        finally:
            await admission.settle()
