"""The files of GraphiQL's page: only those that existed when the page was loaded are served."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

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
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Assets:
    """What a page loads from the gateway: its script, its style sheets, and every file that these load, by name."""

    script: str
    styles: tuple[str, ...]
    files: Mapping[str, Path]


def assets_route(current: Callable[[], Assets]) -> Route:
    """Return the route of the files. It calls ``current`` for each request, since a build replaces the assets."""

    async def serve(request: Request) -> FileResponse:
        path = current().files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=_HEADERS)

    return Route(ASSETS_PATH, serve)


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
