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
from gateway.web.graphql.negotiation import HTML, require_json, require_media_type
from gateway.web.graphql.response import AnyResponse, Responder
from gateway.web.graphql.streams.http import HttpStreams, StreamResponse, may_stream
from gateway.web.rate_limit import Admission, NoRateLimit, RateLimit
from gateway.web.request import ClientDisconnected, HttpRequest


@dataclass(frozen=True, slots=True)
class GraphQLEndpoint:
    """The ASGI application at ``/graphql``. A browser that opens it gets ``page``, if there is one."""

    authentication: Authentication
    rate_limit: RateLimit | NoRateLimit
    reader: RequestReader
    responder: Responder
    streams: HttpStreams
    page: GraphiQLPage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that hangs up gets no response."""
        request = HttpRequest.of(scope, receive)
        try:
            response = await self._response(request)
            self.responder.reporter.responded(response.status_code)
            await response(scope, receive, send)
        except ClientDisconnected:
            return
        finally:
            for file in request.uploads:
                file.release()

    async def _response(self, request: HttpRequest) -> AnyResponse | StreamResponse:
        """Return the response. Every failure becomes one, with the headers of the rate limit once they are known."""
        admission: Admission | None = None
        response: AnyResponse | StreamResponse
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

    async def _admitted(
        self, request: HttpRequest, admission: Admission, media_type: str
    ) -> AnyResponse | StreamResponse:
        """Return the response. A stream runs the operation itself, and settles the admission when it has run."""
        try:
            requested = await self.reader.read(request)
            if isinstance(requested, Batch):
                media_type = require_json(request, "A batch")
                if len(requested.members) > 1:
                    await admission.add_batch(len(requested.members))
            elif may_stream(requested, media_type):
                stream = await self.streams.response_to(requested, request, admission, media_type)
                if stream is not None:
                    return stream
            results = await self.streams.runner.execute(requested, request, admission)
            response = await self.responder.respond(requested, results, request, media_type)
        except BaseException:
            await admission.settle()
            raise
        await admission.settle()
        return response
