"""What pages of other sites can do with the gateway: nothing, but those that ``GATEWAY_CORS_ORIGINS`` names.

A page can make a browser send some requests to any site without asking that site first, and with whatever login the
browser adds by itself (cross-site request forgery, CSRF). It cannot read the answers, but it can cause work, and
measure how long that takes. A POST is not of that kind, for its body has to be declared as JSON. A GET is, unless it
has something that only a program can add: then the browser asks first (Fetch Standard, CORS-preflight), and is told no.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from gateway.errors import CrossSiteRequest
from gateway.settings import CsrfMode, HttpSettings, words
from gateway.telemetry import logger
from gateway.web.http_error import HttpError

MARKERS = ("apollo-require-preflight", "x-apollo-operation-name", "gateway-require-preflight")
"""Headers that say nothing else than that a program has sent the request. The first two are Apollo's."""

_ADDED_BY_PROGRAMS = (*MARKERS, "x-api-key")
# What a form can send (Fetch Standard, CORS-safelisted request-header).
_SIMPLE_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
_ANY = "*"


@dataclass(frozen=True, slots=True)
class CrossSite:
    """Refuses requests that a page of another site may have caused; ``origins`` are those that may cause them."""

    mode: CsrfMode
    origins: Collection[str]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise HttpError for a GET that is not welcome."""
        if self.mode is CsrfMode.OFF or _is_preflighted(headers) or self._is_from_friends(headers):
            return
        if self.mode is CsrfMode.STRICT or _is_from_elsewhere(headers):
            raise HttpError(403, CrossSiteRequest())

    def _is_from_friends(self, headers: Mapping[str, str]) -> bool:
        origin = headers.get("origin")
        return origin is not None and (origin in self.origins or _ANY in self.origins)


def _is_preflighted(headers: Mapping[str, str]) -> bool:
    """Return whether a browser would have asked first. It adds Basic credentials by itself, but no others."""
    if any(headers.get(name) for name in _ADDED_BY_PROGRAMS):
        return True
    if headers.get("authorization", "")[:7].lower() == "bearer ":
        return True
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return bool(content_type) and content_type not in _SIMPLE_TYPES


def _is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says so: all do since 2023 (Fetch Metadata), and older ones tell the page's address."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    page = headers.get("origin") or headers.get("referer")
    return page is not None and not _is_of(page, headers.get("host"))


def _is_of(page: str, host: str | None) -> bool:
    """Return whether the address of a page is of ``host``; what cannot be read, such as ``http://[``, is not."""
    try:
        return urlsplit(page).netloc == host
    except ValueError:
        return False


def build_cross_site(settings: HttpSettings) -> CrossSite:
    """Return what ``settings`` ask for."""
    return CrossSite(settings.csrf, frozenset(words(settings.cors_origins)))


def cors_middleware(settings: HttpSettings) -> list[Middleware]:
    """Return what answers the browser of a page that may ask; nothing where there is none.

    No answer allows credentials: a page sends ``Authorization`` itself, and what a browser would add is no login here.
    """
    origins = words(settings.cors_origins)
    if not origins:
        return []
    if _ANY in origins:
        logger.warning("GATEWAY_CORS_ORIGINS is `*`: pages of any site may ask, and read the answers")
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=[_ANY],
            expose_headers=[_ANY],
            max_age=3600,
        )
    ]
