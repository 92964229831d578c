"""Writes each exchange with the REST API to a file, after everything in it was replaced by invented values.

A file has the newest response to one request: its method, path and query string. `gochat-gateway sandbox --replay`
serves the files.
"""

import asyncio
import hashlib
import json
import secrets
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gateway.errors import ConfigurationError
from gateway.http1 import Response
from gateway.telemetry import logger
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.contract import TOKEN, Route, Write
from gateway.upstream.recording.inventor import Inventor

_NOT_RECORDED = "an exchange with the REST API was not recorded"


def require_unused(directory: Path | None) -> None:
    """Raise ConfigurationError if there is a directory that is not empty."""
    if directory is None:
        return
    try:
        is_empty = not directory.exists() or next(directory.iterdir(), None) is None
    except OSError as exc:
        raise ConfigurationError([_unusable(directory, exc)]) from exc
    if not is_empty:
        raise ConfigurationError([f"GATEWAY_RECORD: {directory} is not empty. Name a new directory."])


def _unusable(directory: Path, exc: OSError) -> str:
    return f"GATEWAY_RECORD: {directory} cannot be used: {exc.strerror}. Name a new directory."


class Recording:
    """A directory of exchanges. Their invented values depend on a secret that ends with this object."""

    def __init__(self, directory: Path, secret: bytes | None = None) -> None:
        """Use a directory that is empty or does not exist yet; raise ConfigurationError for any other."""
        require_unused(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass  # it can be written to
        except OSError as exc:
            raise ConfigurationError([_unusable(directory, exc)]) from exc
        logger.warning("exchanges with the REST API are recorded", extra={"fields": {"directory": str(directory)}})
        self._directory = directory
        self.inventor = Inventor(secret or secrets.token_bytes(32))

    def write(self, request: RestRequest, response: Response) -> None:
        """Write one exchange. A failure is logged, and fails nothing else."""
        try:
            path, _, query = self._target(request).partition("?")
            exchange = {
                "route": request.route.name,
                "method": request.method,
                "path": path,
                "query": query,
                "request": self._requested(request),
                "status": response.status,
                "retry_after": _seconds(response.header("retry-after")),
                **self._answered(request.route, response),
            }
            digest = hashlib.sha256(f"{request.method} {path}?{query}".encode()).hexdigest()[:16]
            self._replace(f"{request.route.name}-{digest}.json", json.dumps(exchange, indent=1))
        except OSError as exc:
            logger.warning(_NOT_RECORDED, extra={"fields": {"reason": exc.strerror}})
        except Exception as exc:  # noqa: BLE001 - whatever a body holds, its call has its response
            logger.warning(_NOT_RECORDED, exc_info=exc)

    def _target(self, request: RestRequest) -> str:
        """Return the path and the query string, with an invented id."""
        route = request.route
        path, mark, query = request.target.partition("?")
        if route.parameter is not None:
            prefix, _, rest = route.template.partition("{")
            suffix = rest.partition("}")[2]
            identifier = unquote(path[len(prefix) : len(path) - len(suffix)])
            path = route.path(self.inventor.text(identifier))
        return path + mark + query

    def _requested(self, request: RestRequest) -> Any:
        """Return the body of the request; None if there is none, or it was made while it was sent."""
        if not isinstance(request.route, Write) or not isinstance(request.body, bytes) or not request.body:
            return None
        return self.inventor.body(json.loads(request.body), request.route.request)

    def _answered(self, route: Route, response: Response) -> dict[str, Any]:
        """Return the body of the response. Of one that is no JSON only that is written."""
        kind = route.response if response.status == route.status else "Errors"
        if not response.body:
            return {"body": None, "form": "empty"}
        try:
            value = json.loads(response.body, parse_constant=_no_number)
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no JSON for the gateway, either
        except (ValueError, RecursionError):
            return {"body": None, "form": "no JSON"}
        return {"body": self.inventor.body(value, kind or "any"), "form": "JSON"}

    def _replace(self, name: str, text: str) -> None:
        """Write the file as a whole, so that no reader finds half of it."""
        unfinished = self._directory / f".{name}.{secrets.token_hex(4)}"
        try:
            unfinished.write_text(text, encoding="ascii")
            unfinished.replace(self._directory / name)
        finally:
            unfinished.unlink(missing_ok=True)


class Recorder:
    """Wraps a transport, and records what passes. A login is not recorded: it has nothing but credentials."""

    def __init__(self, following: Transport, recording: Recording) -> None:
        self._following = following
        self._recording = recording

    async def send(self, request: RestRequest) -> Response:
        """Send the request. Its exchange is written when the response is returned."""
        response = await self._following.send(request)
        if request.route is not TOKEN:
            await asyncio.to_thread(self._recording.write, request, response)
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


def _no_number(name: str) -> float:
    """Refuse ``NaN`` and ``Infinity``, which Python takes for JSON and nobody else does (RFC 8259, section 6)."""
    raise ValueError(name)


def _seconds(retry_after: str | None) -> int | None:
    """Return the seconds of a ``Retry-After``; of one that is a date, one second."""
    if retry_after is None:
        return None
    return int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 1
