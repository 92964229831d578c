"""Serves recorded exchanges in place of the REST API: each request gets the response that was recorded for it.

The files are those of `gochat-gateway serve --record DIR`. Credentials are not checked. A read is found by its path and
query string, a write by its path: a part of its body is random. A request without a recorded response gets an error.
"""

import json
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox.http.exchange import raw_path
from gateway.sandbox.http.response import JSON, error_body

_TOKEN_PATH: Final = "/api/v1/token"  # noqa: S105 - a path
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NO_JSON: Final = "<html><body>This is no JSON.</body></html>"

Key = tuple[str, str, str]


class Replay:
    """The recorded exchanges of a directory. Raises ValueError where a file is not one, or there is none."""

    def __init__(self, directory: Path) -> None:
        files = sorted(directory.glob("*.json"))
        if not files:
            raise ValueError(f"{directory} holds no recorded exchanges")
        self._exchanges = dict(_read(each) for each in files)

    @property
    def paths(self) -> list[str]:
        """The method and path of every exchange, with its query string."""
        return [f"{method} {path}{'?' if query else ''}{query}" for method, path, query in sorted(self._exchanges)]

    @property
    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/{path:path}", self._respond, methods=list(_METHODS))])

    async def _respond(self, request: Request) -> Response:
        path = raw_path(request.scope)
        if request.method == "POST" and path == _TOKEN_PATH:
            return JSONResponse({"access_token": "replayed", "expires_in": 3600})
        query = request.url.query if request.method == "GET" else ""
        exchange = self._exchanges.get((request.method, path, query))
        if exchange is None:
            body = error_body("not_recorded", "This request is not among the recorded ones.")
            return Response(body, 400, media_type=JSON)
        headers = {} if exchange["retry_after"] is None else {"retry-after": str(exchange["retry_after"])}
        if exchange["form"] == "JSON":
            return JSONResponse(exchange["body"], exchange["status"], headers)
        content = _NO_JSON if exchange["form"] == "no JSON" else None
        return Response(content, exchange["status"], headers, "text/html" if content else None)


def _read(file: Path) -> tuple[Key, dict[str, Any]]:
    try:
        exchange: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        key = exchange["method"], exchange["path"], exchange["query"]
        missing = {"status", "retry_after", "form", "body"} - exchange.keys()
    except (ValueError, KeyError, TypeError) as exc:
        raise ValueError(f"{file} is no recorded exchange") from exc
    if missing or not all(isinstance(each, str) for each in key):
        raise ValueError(f"{file} is no recorded exchange")
    return key, exchange
