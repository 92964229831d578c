"""Several operations in one POST (GraphQL over HTTP, appendix C: Request Batching).

Each operation has its own result, errors included. They run at the same time, and one response with HTTP status 200
holds all results in their order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.errors import BadUserInput
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed


@dataclass(frozen=True, slots=True)
class Batch:
    """The operations of a batch, in their order. A malformed one is represented by its error."""

    members: tuple[Operation | BadUserInput, ...]


async def run_batch(
    batch: Batch, execute: Callable[[Operation], Awaitable[Result]], request_id: str
) -> tuple[Result, ...]:
    """Return the results. An exception of ``execute`` is raised when all have ended: it refuses the whole batch."""

    async def run(member: Operation | BadUserInput) -> Result:
        return failed(member, request_id) if isinstance(member, BadUserInput) else await execute(member)

    outcomes = await asyncio.gather(*map(run, batch.members), return_exceptions=True)
    results = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return tuple(results)
