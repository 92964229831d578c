"""A gateway in the test's own loop, in front of a sandbox: what subscriptions deliver without a transport."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.app import create_app
from gateway.auth import Viewer
from gateway.events import Changes, Event
from gateway.execution.operation import Operation
from gateway.execution.result import Result
from gateway.execution.subscriptions import Subscriber, Subscription, Subscriptions
from gateway.sandbox import Sandbox
from tests.harness import SERVICE, settings
from tests.upstream.cached import basic

EVERYONE = Viewer(None, "test")
SECONDS = 20
"""The longest that a test waits for a result. Only a failing test waits so long."""


@dataclass(frozen=True, slots=True)
class World:
    """The subscriptions of one worker, and the bus that tells it of events."""

    subscriptions: Subscriptions
    changes: Changes
    sandbox: Sandbox

    async def ask(
        self, document: str, viewer: Viewer = EVERYONE, *, address: str | None = None, **variables: Any
    ) -> Result | Subscription:
        """Subscribe, or get the refusal."""
        subscriber = Subscriber(viewer, "test", address)
        return await self.subscriptions.subscribe(Operation(document, None, variables), subscriber)

    async def open(self, document: str, viewer: Viewer = EVERYONE, **variables: Any) -> Subscription:
        """Subscribe."""
        subscription = await self.ask(document, viewer, **variables)
        assert isinstance(subscription, Subscription), subscription
        return subscription

    async def code(self, document: str, viewer: Viewer = EVERYONE, **variables: Any) -> str:
        """Return the code with which a subscription is refused."""
        result = await self.ask(document, viewer, **variables)
        assert isinstance(result, Result)
        return result.codes[0]

    def put(self, ident: str, **fields: Any) -> None:
        """Change a thread, or add one."""
        self.sandbox.store.put_thread({"id": ident, **fields})

    async def change(self, ident: str, **fields: Any) -> None:
        """Change a thread, and tell of it."""
        self.put(ident, **fields)
        assert await self.changes.publish(Event((ident,), code="thread_updated", source="web"))

    async def delivered(self, *subscriptions: Subscription) -> bool:
        """Return whether the clients have taken everything, once all that is under way has been done."""
        async with asyncio.timeout(SECONDS):
            while self.subscriptions.reading:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.001)
        return not any([await _has_one(each) for each in subscriptions])

    @property
    def reads(self) -> int:
        """How many threads were read."""
        return self.sandbox.count("thread")


@asynccontextmanager
async def world(upstream: str, sandbox: Sandbox, **overrides: Any) -> AsyncIterator[World]:
    """Run a worker with these settings."""
    app = create_app(settings(**{"upstream_url": upstream, **SERVICE, **overrides}))
    async with app.router.lifespan_context(app):
        yield World(app.state.subscriptions, app.state.changes, sandbox)


async def taken(subscription: Subscription) -> dict[str, Any]:
    """Return the next result."""
    result: dict[str, Any] = json.loads(await asyncio.wait_for(anext(subscription), SECONDS))
    return result


async def data(subscription: Subscription) -> Any:
    """Return the value of the root field of the next result, which has no errors."""
    result = await taken(subscription)
    assert "errors" not in result, result
    (value,) = result["data"].values()
    return value


async def _has_one(subscription: Subscription) -> bool:
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    has_one = waiting.done() or not waiting.cancel()
    await asyncio.wait([waiting])  # a subscription has one consumer at a time
    return has_one


def passthrough(user: tuple[str, str]) -> Viewer:
    """Return the viewer of a caller with credentials of its own."""
    return Viewer(basic(*user), f"header:{user[0]}")
