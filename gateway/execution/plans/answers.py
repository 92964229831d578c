"""Answers that were built from cached REST responses: they are kept beside them, and not built again.

A plan's answer is a function of the document, the variables, the caller's scopes and the REST bodies, and of nothing
else. So an operation whose bodies all came from the response cache, in the memory of this process, leaves its encoded
answer there, within the bound of that memory. The next one with the same document and variables gets these bytes,
without a plan, a loader or a decoder.

Nothing is served that the cache would not serve. Each body is looked up again, as its call would look it up: with the
caller's own credentials, and only if it is fresh and was not purged. It must be the very entry that the answer was
built from. Entries are private to a credential, and so are the answers.
"""

from typing import NamedTuple

import msgspec

from gateway.execution.documents.cache import ValidDocument
from gateway.execution.operation import Operation
from gateway.execution.result import Result
from gateway.schema.resolvers.context import OperationContext
from gateway.upstream.call import ResponseOrigin

# Such as of half a surrogate pair, or of a list that is nested so deeply that it could only just be decoded.
_NO_JSON = (TypeError, ValueError, OverflowError, RecursionError)


class Answer(NamedTuple):
    """The encoded ``data`` of a response, and the predicted cost of the operation."""

    data: msgspec.Raw
    predicted: int | None

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no content."""
        return "Answer()"


def find_answer(document: ValidDocument, operation: Operation, context: OperationContext) -> Answer | None:
    """Return the answer if it is kept, and report the cached responses that stand behind it."""
    if not context.loaders.has_cache or context.execution.explain or operation.uploads:
        return None
    name = _name(document, operation, context)
    found: Answer | None = None if name is None else context.loaders.made(name)
    return found


def keep_answer(
    document: ValidDocument, operation: Operation, context: OperationContext, result: Result, predicted: int | None
) -> None:
    """Keep an answer that a plan has built, if all of it came from the cache and nothing is wrong with it."""
    data = result.payload.get("data")
    if not context.loaders.has_cache or context.execution.executor != "plan" or not isinstance(data, msgspec.Raw):
        return
    if operation.uploads or "errors" in result.payload:
        return
    if any(each.origin is not ResponseOrigin.CACHED for each in context.reports):
        return
    name = _name(document, operation, context)
    if name is not None:
        context.loaders.keep(name, Answer(data, predicted), len(bytes(data)))


def _name(document: ValidDocument, operation: Operation, context: OperationContext) -> bytes | None:
    """Return the name of an answer of any caller; None where the variables have no JSON form."""
    try:
        return msgspec.json.encode((document.number, operation.name, operation.variables, context.viewer.scopes))
    except _NO_JSON:
        return None
