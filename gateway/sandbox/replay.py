"""Serves recorded exchanges in place of the REST API: each request gets the response that was recorded for it.

The files are those of `gochat-gateway serve --record DIR`. Credentials are not checked. A read is found by its path and
query string, a write by its path: a part of its body is random. A request without a recorded response gets an error.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox.http.exchange import raw_path
from gateway.sandbox.http.response import JSON, error_body

_TOKEN_PATH: Final = "/api/v1/token"  # noqa: S105 - a path
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NO_JSON: Final = "<html><body>This is no JSON.</body></html>"

Key: TypeAlias = tuple[str, str, str]


class _Exchange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file has: a request and its response, as `gateway.upstream.recording` writes them."""

    route: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, msgspec.Meta(pattern=r"\A/[!-~]*\Z")]
    query: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]*\Z")]
    request: Any
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None
    body: Any
    form: Literal["JSON", "no JSON", "empty"]


class Replay:
    """The recorded exchanges of a directory. Raises ValueError where a file is not one, or there is none."""

    def __init__(self, directory: Path) -> None:
        files = sorted(directory.glob("*.json"))
        if not files:
            raise ValueError(f"{directory} holds no recorded exchanges")
        exchanges = map(_read, files)
        self._exchanges: dict[Key, _Exchange] = {(each.method, each.path, each.query): each for each in exchanges}

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
        headers = {} if exchange.retry_after is None else {"retry-after": str(exchange.retry_after)}
        if exchange.form == "JSON":
            return Response(msgspec.json.encode(exchange.body), exchange.status, headers, JSON)
        content = _NO_JSON if exchange.form == "no JSON" else None
        return Response(content, exchange.status, headers, "text/html" if content else None)


def _read(file: Path) -> _Exchange:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Exchange)
    except OSError as exc:
        raise ValueError(f"{file} cannot be read: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(f"{file} is no recorded exchange of this version: {exc}") from exc
