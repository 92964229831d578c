"""The endpoint at ``/graphql/explain``: which REST calls an operation is predicted to make. It makes none.

A request takes the same steps as one of an operation. The fourth predicts in place of executing.
"""

from dataclasses import dataclass
from functools import partial

from graphql import OperationType

from gateway.errors import BadUserInput, GatewayError, RequestError
from gateway.execution.documents.persisted import PersistedOperation
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed, refused
from gateway.schema.resolvers.context import OperationContext
from gateway.web.graphql.batching import Batch, run_batch
from gateway.web.graphql.endpoint import GraphQLEndpoint
from gateway.web.graphql.negotiation import require_json
from gateway.web.graphql.response import AnyResponse
from gateway.web.rate_limit import Admission
from gateway.web.request import HttpError, HttpRequest, is_form


@dataclass(frozen=True, slots=True)
class ExplainEndpoint(GraphQLEndpoint):
    """The ASGI application at ``/graphql/explain``."""

    async def _admitted(self, request: HttpRequest, admission: Admission, media_type: str) -> AnyResponse:
        """Return the response with the prediction, or with the errors that the operation itself would get."""
        try:
            _require_operation(request)
            media_type = require_json(request, "A prediction")
            requested = await self.reader.read(request)
            explain = partial(self._explained, request=request, admission=admission)
            if isinstance(requested, Batch):
                await admission.add_batch(len(requested.members))
                results = await run_batch(requested, explain, request.id)
            else:
                results = (await explain(requested),)
            return await self.responder.respond(requested, results, request, media_type)
        finally:
            await admission.settle()

    async def _explained(self, operation: Operation, request: HttpRequest, admission: Admission) -> Result:
        runner = self.streams.runner
        if isinstance(operation, PersistedOperation):
            try:
                operation = await runner.persisted.resolve(operation)
            except GatewayError as exc:
                return failed(exc, request.id, is_unanswerable=isinstance(exc, BadUserInput))
        context = runner.contexts.build(admission.viewer, request.id)
        try:
            return self._predicted(operation, context)
        except RequestError as exc:
            return refused(exc, request.id)
        except GatewayError as exc:
            return failed(exc, request.id)
        finally:
            context.loaders.close()

    def _predicted(self, operation: Operation, context: OperationContext) -> Result:
        """Return the prediction; of a subscription, of each result, and how many results it has at first."""
        engine, subscriptions = self.streams.runner.engine, self.streams.streams.subscriptions
        prepared = engine.read(operation, context)
        if context.execution.type != OperationType.SUBSCRIPTION.value:
            return engine.explain(prepared, context)
        subscriptions.require_enabled()
        _, idents = subscriptions.topic(prepared)
        result = engine.explain(prepared, context, max(1, len(idents)))
        result.payload["firstResults"] = len(idents)
        return result


def _require_operation(request: HttpRequest) -> None:
    """Raise HttpError for the forms of an operation that a prediction does not have: GET and multipart."""
    if request.method != "POST":
        raise HttpError(405, BadUserInput("A prediction is asked for with POST."), {"allow": "POST"})
    if is_form(request.headers):
        raise HttpError(415, BadUserInput("A prediction is asked for with JSON: send null in place of each file."))
