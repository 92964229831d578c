"""The sandbox's own routes: the index page, and everything under `/_sandbox`."""

from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.sandbox.calls import Call, Calls
from gateway.sandbox.faults import Fault, Faults
from gateway.sandbox.http.response import RefusedError
from gateway.sandbox.rest_api.accounts import PASSWORD, USERNAME
from gateway.sandbox.rest_api.endpoints import ENDPOINTS
from gateway.sandbox.rest_api.store import Store
from gateway.sandbox.webhooks import Target, Webhooks

PREFIX: Final = "/_sandbox"

_API: Final = "\n".join(f"  {each.method:<5}{each.template:<41}{each.hint}" for each in ENDPOINTS)
_INDEX: Final = f"""\
A sandbox of the Go!Chat REST API. All data is invented.

The API (Basic {USERNAME} / {PASSWORD}, or a token):
{_API}

The sandbox itself (no login):
  GET    /_sandbox/health
  GET    /_sandbox/calls                what was called; ?route=thread for one route
  DELETE /_sandbox/calls
  GET    /_sandbox/faults               the faults in force
  POST   /_sandbox/faults               {{"route": "thread", "match": "th-1", "status": 503}}, or a list
  DELETE /_sandbox/faults
  PUT    /_sandbox/outbox               {{"delay": 30}}: sent messages are in their thread after so many seconds
  PUT    /_sandbox/threads/{{id}}         {{"status": 3}}: change fields of a thread
  GET    /_sandbox/webhooks             where webhooks go, and what was posted
  PUT    /_sandbox/webhooks             {{"url": "http://…/webhooks/gochat", "authorization": "…", "copies": 2}}
  DELETE /_sandbox/webhooks
  POST   /_sandbox/release/{{name}}       let the requests go on that a fault holds under this name
"""


class _Outbox(msgspec.Struct, forbid_unknown_fields=True):
    delay: Annotated[float, msgspec.Meta(ge=0)]


class Control:
    """Lists and sets faults and webhooks, lists the calls, changes threads, and delays the outbox."""

    def __init__(self, faults: Faults, calls: Calls, store: Store, webhooks: Webhooks) -> None:
        self._faults = faults
        self._calls = calls
        self._store = store
        self._webhooks = webhooks

    def app(self) -> Starlette:
        """Return the routes as an ASGI app."""
        return Starlette(
            routes=[
                Route("/", self._index, methods=["GET"]),
                Route(f"{PREFIX}/health", self._health, methods=["GET"]),
                Route(f"{PREFIX}/calls", self._list_calls, methods=["GET"]),
                Route(f"{PREFIX}/calls", self._clear_calls, methods=["DELETE"]),
                Route(f"{PREFIX}/faults", self._list_faults, methods=["GET"]),
                Route(f"{PREFIX}/faults", self._add_faults, methods=["POST"]),
                Route(f"{PREFIX}/faults", self._clear_faults, methods=["DELETE"]),
                Route(f"{PREFIX}/outbox", self._set_outbox, methods=["PUT"]),
                Route(f"{PREFIX}/threads/{{ident:path}}", self._change_thread, methods=["PUT"]),
                Route(f"{PREFIX}/webhooks", self._list_webhooks, methods=["GET"]),
                Route(f"{PREFIX}/webhooks", self._set_webhooks, methods=["PUT"]),
                Route(f"{PREFIX}/webhooks", self._end_webhooks, methods=["DELETE"]),
                Route(f"{PREFIX}/release/{{name:path}}", self._release, methods=["POST"]),
            ]
        )

    async def _index(self, _request: Request) -> Response:
        return PlainTextResponse(_INDEX)

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _list_calls(self, request: Request) -> Response:
        calls = self._calls.entries(request.query_params.get("route"))
        state = {"in_flight": self._calls.in_flight, "max_concurrent": self._calls.max_concurrent}
        return _json({"calls": [_shown(call) for call in calls], **state})

    async def _clear_calls(self, _request: Request) -> Response:
        self._calls.clear()
        return Response(status_code=204)

    async def _list_faults(self, _request: Request) -> Response:
        return self._current(200)

    async def _add_faults(self, request: Request) -> Response:
        try:
            form = msgspec.json.decode(await request.body())
            faults = [Fault.from_json(item) for item in (form if isinstance(form, list) else [form])]
        except ValueError as exc:  # msgspec.DecodeError is one
            return _json({"error": str(exc)}, 422)
        self._faults.add(*faults)
        return self._current(201)

    async def _clear_faults(self, _request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def _set_outbox(self, request: Request) -> Response:
        try:
            outbox = msgspec.json.decode(await request.body(), type=_Outbox)
        except ValueError as exc:
            return _json({"error": str(exc)}, 422)
        self._store.outbox_delay = outbox.delay
        return Response(status_code=204)

    async def _change_thread(self, request: Request) -> Response:
        try:
            changes = msgspec.json.decode(await request.body(), type=dict[str, Any])
            self._store.change_thread(request.path_params["ident"], changes)
        except RefusedError as exc:
            return Response(exc.response.body, exc.response.status, media_type="application/json")
        except ValueError as exc:
            return _json({"error": str(exc)}, 422)
        return Response(status_code=204)

    async def _list_webhooks(self, _request: Request) -> Response:
        target = self._webhooks.target
        shown = None if target is None else {**msgspec.structs.asdict(target), "authorization": "***"}
        posted = [each._asdict() for each in self._webhooks.posted]
        return _json({"target": shown, "waiting": self._webhooks.waiting, "posted": posted})

    async def _set_webhooks(self, request: Request) -> Response:
        try:
            self._webhooks.send_to(msgspec.json.decode(await request.body(), type=Target))
        except ValueError as exc:
            return _json({"error": str(exc)}, 422)
        return Response(status_code=204)

    async def _end_webhooks(self, _request: Request) -> Response:
        self._webhooks.send_to(None)
        return Response(status_code=204)

    async def _release(self, request: Request) -> Response:
        try:
            self._faults.gates.open(request.path_params["name"])
        except KeyError as exc:
            return _json({"error": exc.args[0]}, 404)
        return Response(status_code=204)

    def _current(self, status: int) -> Response:
        return _json({"faults": [fault.to_json() for fault in self._faults.pending()]}, status)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _shown(call: Call) -> dict[str, object]:
    return {**asdict(call), "body": call.body.decode(errors="backslashreplace")}
