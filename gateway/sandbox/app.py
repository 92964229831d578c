"""The sandbox: an ASGI app that behaves like the REST API, with a log of its calls and faults on request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.sandbox.calls import Call, Calls
from gateway.sandbox.control import PREFIX, Control
from gateway.sandbox.faults import Fault, Faults
from gateway.sandbox.fixtures.seed import Seed, seed
from gateway.sandbox.http.exchange import DisconnectedError, Exchange, raw_path
from gateway.sandbox.http.response import Response, error_body
from gateway.sandbox.rest_api.accounts import Accounts
from gateway.sandbox.rest_api.endpoints import Endpoints, Target, locate
from gateway.sandbox.rest_api.store import Store
from gateway.sandbox.webhooks import Webhooks

_TRICKLE_PIECES: Final = 10
_CANNOT_RESET: Final = Response(
    500,
    error_body("sandbox_server", "This server cannot drop a connection: run the sandbox with sandbox_config()."),
)


class Sandbox:
    """Serves the REST API on `app`. All other methods may be called from any thread, also while it serves.

    `echo_caller` puts `caller:<username>` into the tags of every thread and the comment of customer details, so that
    a response shows which user it belongs to. `clock` returns seconds since the epoch. Delays wait with `sleep`. A sent
    message is in its thread after `outbox_delay` seconds.
    """

    def __init__(
        self,
        data: Seed | None = None,
        *,
        accounts: Accounts | None = None,
        echo_caller: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        outbox_delay: float = 0.0,
    ) -> None:
        self.accounts = Accounts(clock=clock) if accounts is None else accounts
        self.faults = Faults()
        self.webhooks = Webhooks(clock, self.faults.change_event)
        self.store = Store(seed() if data is None else data, self.webhooks, echo_caller=echo_caller, clock=clock)
        self.store.outbox_delay = outbox_delay
        self._calls = Calls()
        self._endpoints = Endpoints(self.store, self.accounts, clock)
        self._control = Control(self.faults, self._calls, self.store, self.webhooks)
        self._control_app = self._control.app()
        self._clock = clock
        self._sleep = sleep
        self._late: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> list[Call]:
        """The calls so far, oldest first, including those that have no response yet."""
        return self._calls.entries()

    @property
    def in_flight(self) -> int:
        """How many calls have no response yet."""
        return self._calls.in_flight

    @property
    def max_concurrent(self) -> int:
        """The highest number of calls that were in flight at the same time since the last `clear`."""
        return self._calls.max_concurrent

    def count(self, route: str | None = None) -> int:
        """Return how many calls have arrived, of one route or of all."""
        return self._calls.count(route)

    def clear(self) -> None:
        """Forget the calls so far."""
        self._calls.clear()

    def wait_for_calls(self, n: int, route: str | None = None, timeout: float = 5.0) -> None:
        """Block this thread until `n` calls have arrived, with a response or not; TimeoutError if they do not."""
        self._calls.wait_for(n, route, timeout)

    def wait_until_idle(self, timeout: float = 5.0) -> None:
        """Block this thread until every call has ended; TimeoutError if they do not."""
        self._calls.wait_until_idle(timeout)

    def release(self, name: str) -> None:
        """Release the requests that a fault holds, or would hold, under this name; KeyError if unknown."""
        self.faults.gates.open(name)

    @property
    def app(self) -> ASGIApp:
        """The ASGI app. It is the sandbox itself, because uvicorn takes a bound method for an ASGI 2 app."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the sandbox speaks HTTP, not {scope['type']}")
        path = raw_path(scope)
        if path == "/" or path.startswith(f"{PREFIX}/"):
            await self._control_app(scope, receive, send)
        else:
            await self._serve(Exchange(scope, receive, send))

    async def _serve(self, exchange: Exchange) -> None:
        target = locate(exchange.method, exchange.path)
        ticket = self._arrive(exchange, target)
        try:
            await exchange.read()
            if exchange.body:
                self._calls.amend(ticket, body=exchange.body, username=self._endpoints.login_name(target, exchange))
            fault = self.faults.take(target.route, target.ident)
            if fault is None:
                await self._deliver(exchange, ticket, self._endpoints.respond(target, exchange))
            else:
                await self._misbehave(exchange, ticket, target, fault)
        except DisconnectedError:
            self._calls.finish(ticket, cancelled=True)
        finally:
            self._calls.finish(ticket)

    def _arrive(self, exchange: Exchange, target: Target) -> int:
        return self._calls.arrive(
            Call(
                route=target.route,
                method=exchange.method,
                path=exchange.path,
                query=exchange.query,
                headers=exchange.headers,
                started=self._clock(),
                username=self.accounts.identify(exchange.headers.get("authorization")),
            )
        )

    async def _misbehave(self, exchange: Exchange, ticket: int, target: Target, fault: Fault) -> None:
        respond = partial(self._endpoints.respond, target, exchange)
        if fault.carry_out:
            carried_out = respond()
            respond = partial(lambda: carried_out)
        if fault.late:
            self._carry_out_late(fault.late, respond)
        if fault.delay:
            await exchange.pause(self._sleep(fault.delay))
        if fault.hold is not None:
            await exchange.pause(self.faults.gates.wait(fault.hold))
        if fault.drop is not None and not exchange.can_reset:
            await self._deliver(exchange, ticket, _CANNOT_RESET)
        elif fault.drop == "before":
            self._calls.finish(ticket)
            await exchange.reset()
        elif fault.drop == "mid-body":
            await self._break_off(exchange, ticket, fault.response(respond))
        else:
            await self._deliver(exchange, ticket, fault.response(respond), fault.trickle)

    def _carry_out_late(self, seconds: float, respond: Callable[[], Response]) -> None:
        async def carry_out() -> None:
            await self._sleep(seconds)
            respond()

        task = asyncio.get_running_loop().create_task(carry_out())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _deliver(self, exchange: Exchange, ticket: int, response: Response, trickle: float = 0.0) -> None:
        *pieces, last = _cut(response.body, _TRICKLE_PIECES if trickle else 1)
        for piece in pieces:
            await exchange.write(response, piece, last=False)
            await exchange.pause(self._sleep(trickle))
        # Before the last byte: when a client has its response, the log must show the call as finished.
        self._calls.finish(ticket, status=response.status)
        await exchange.write(response, last, last=True)

    async def _break_off(self, exchange: Exchange, ticket: int, response: Response) -> None:
        if response.body:
            await exchange.write(response, response.body[: len(response.body) // 2], last=False)
        else:
            exchange.begin_status_line()
        self._calls.finish(ticket, status=response.status)
        await exchange.reset()


def _cut(body: bytes, pieces: int) -> list[bytes]:
    size = max(1, -(-len(body) // pieces))
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]
