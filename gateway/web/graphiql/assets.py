"""The files of GraphiQL's page: only those that existed when the page was loaded are served.

They are served compressed: a first visit loads 1.6 MB with zstd, 1.8 MB with gzip, and 6 MB uncompressed. Each file is
compressed once, in 2.5 s for the largest, and then kept in memory.
"""

import asyncio
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ASSETS_PATH = "/graphiql/assets/{name}"
SOURCES = Path(__file__).parent
"""The folder of the page's sources; ``dist`` in it is the output of `npm run build`."""

_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}
_HEADERS = {
    # The name contains a hash of the content.
    "cache-control": "public, max-age=31536000, immutable",
    # A worker is bound by the policy of its own file.
    "content-security-policy": "default-src 'none'; script-src 'self'",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}
_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "zstd": lambda content: zstd.compress(content, 17),
    "gzip": lambda content: gzip.compress(content, 9, mtime=0),
}
_COMPRESSED = {".woff2"}
_REFUSED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")
_MAX_HEADER_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Assets:
    """What a page loads from the gateway: its script, its style sheets, and every file that these load, by name."""

    script: str
    styles: tuple[str, ...]
    files: Mapping[str, Path]


def assets_route(current: Callable[[], Assets]) -> Route:
    """Return the route of the files. It calls ``current`` for each request, since a build replaces the assets."""

    async def serve(request: Request) -> Response:
        path = current().files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        media_type = _MEDIA_TYPES[path.suffix]
        encoding = None if path.suffix in _COMPRESSED else _encoding(request.headers.get("accept-encoding", ""))
        if encoding is None:
            return FileResponse(path, media_type=media_type, headers=_HEADERS)
        content = await asyncio.to_thread(_encoded, path, encoding)
        return Response(content, media_type=media_type, headers={**_HEADERS, "content-encoding": encoding})

    return Route(ASSETS_PATH, serve)


def _encoding(accept_encoding: str) -> str | None:
    """Return the smallest encoding that is accepted by its name (RFC 9110, section 12.5.3).

    Responses of operations prefer gzip, for the sake of programs (`web.graphql.compression`). Only browsers come here.
    """
    accepted = {
        name.strip().lower()
        for name, _, weight in (each.partition(";") for each in accept_encoding[:_MAX_HEADER_CHARACTERS].split(","))
        if not _REFUSED.fullmatch(weight)
    }
    return next((each for each in _ENCODERS if each in accepted), None)


@lru_cache(maxsize=128)
def _encoded(path: Path, encoding: str) -> bytes:
    return _ENCODERS[encoding](path.read_bytes())


def built_assets(sources: Path = SOURCES) -> Assets | None:
    """Return the output of `npm run build`, None if it did not run."""
    folder = sources / "dist"
    try:
        manifest: dict[str, dict[str, Any]] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    (entry,) = (chunk for chunk in manifest.values() if chunk.get("isEntry"))
    files = {path.name: path for path in folder.iterdir() if path.suffix in _MEDIA_TYPES}
    return Assets(entry["file"], tuple(entry.get("css", ())), files)


def fallback_assets(sources: Path = SOURCES) -> Assets:
    """Return the gateway's own files of a page that loads GraphiQL from a CDN."""
    paths = [sources / "fallback.js", sources / "fallback.css"]
    files = {_hashed_name(path): path for path in paths}
    script, style = files
    return Assets(script, (style,), files)


def _hashed_name(path: Path) -> str:
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}{path.suffix}"
