"""Several operations in one POST (GraphQL over HTTP, appendix C: Request Batching).

Each is a request of its own and has its own answer, errors included; they run at the same time and are answered
together, in their order, with HTTP status 200.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadUserInput, BatchTooLarge
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed
from gateway.web.graphql.decode import json_of_body, operation_of


@dataclass(frozen=True, slots=True)
class Batch:
    """The operations of a batch, in their order, and in place of one that is none what is wrong with it."""

    members: tuple[Operation | BadUserInput, ...]


def request_of_body(body: bytes, most: int) -> Operation | Batch:
    """Return what a POST's JSON body holds; BadUserInput where that is neither, or a batch of more than ``most``."""
    value = json_of_body(body)
    if isinstance(value, list):
        return _batch(value, most)
    return operation_of(value)


def _batch(members: list[Any], most: int) -> Batch:
    if most == 1:
        raise BadUserInput("Batching is not enabled: send one operation per request.")
    if not 1 <= len(members) <= most:
        error = BatchTooLarge if members else BadUserInput
        raise error(f"A batch has 1 to {most} operations, not {len(members)}.")
    if not all(isinstance(member, dict) for member in members):
        raise BadUserInput("A batch is a JSON array of objects with `query`.")
    return Batch(tuple(_member(member) for member in members))


def _member(parameters: dict[str, Any]) -> Operation | BadUserInput:
    try:
        return operation_of(parameters)
    except BadUserInput as exc:
        return exc


async def run_batch(
    batch: Batch, execute: Callable[[Operation], Awaitable[Result]], request_id: str
) -> tuple[Result, ...]:
    """Return the members' results. What ``execute`` raises is raised when all have ended: it refuses the whole."""

    async def run(member: Operation | BadUserInput) -> Result:
        return failed(member, request_id) if isinstance(member, BadUserInput) else await execute(member)

    outcomes = await asyncio.gather(*map(run, batch.members), return_exceptions=True)
    results = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return tuple(results)
