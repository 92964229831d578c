"""Protects against requests that pages of other sites cause, except the sites in ``GATEWAY_CORS_ORIGINS``.

A page can make a browser send some requests to any site without asking that site first, together with any login that
the browser adds by itself (cross-site request forgery, CSRF). The page cannot read the responses, but it can cause work
and measure how long that takes. A POST is safe if its body must be declared as JSON. A GET is safe only if it has a
header that only a program can add: then the browser asks first (Fetch Standard, CORS-preflight), and gets a refusal.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from gateway.errors import CrossSiteRequest
from gateway.settings import CsrfMode, HttpSettings, words
from gateway.telemetry import logger
from gateway.web.request import HttpError, is_form

MARKERS = ("apollo-require-preflight", "x-apollo-operation-name", "gateway-require-preflight")
"""Headers whose only meaning is that a program has sent the request. The first two are Apollo's."""

_OF_FORMS = ("apollo-require-preflight", "gateway-require-preflight")
_FORM_WITHOUT_HEADER = (
    "An upload (multipart/form-data) needs the header `apollo-require-preflight: true` or "
    "`gateway-require-preflight: true`: a page of another site cannot add it."
)
_ADDED_BY_PROGRAMS = (*MARKERS, "x-api-key")
# The types that a form can send (Fetch Standard, CORS-safelisted request-header).
_SIMPLE_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
_ANY = "*"


@dataclass(frozen=True, slots=True)
class CsrfProtection:
    """Refuses a GET that a page of another site may have caused. Pages of ``origins`` are allowed."""

    mode: CsrfMode
    origins: Collection[str]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise HttpError 403 for a GET that is refused."""
        if self.mode is CsrfMode.OFF or _is_preflighted(headers) or self._is_from_allowed_origin(headers):
            return
        if self.mode is CsrfMode.STRICT or _is_cross_site(headers):
            raise HttpError(403, CrossSiteRequest())

    def require_program(self, headers: Mapping[str, str]) -> None:
        """Raise HttpError 403 for a form that a page of another site may have sent: a browser sends one unasked.

        It applies whatever the mode is, since what comes as a form are writes.
        """
        if is_form(headers) and not any(headers.get(name) for name in _OF_FORMS):
            raise HttpError(403, CrossSiteRequest(_FORM_WITHOUT_HEADER))

    def require_allowed_origin(self, headers: Mapping[str, str]) -> None:
        """Raise HttpError 403 for a WebSocket of another site's page: CORS does not protect them."""
        if _is_cross_site(headers) and not self._is_from_allowed_origin(headers):
            raise HttpError(403, CrossSiteRequest("Pages of this site may not open a WebSocket here."))

    def _is_from_allowed_origin(self, headers: Mapping[str, str]) -> bool:
        origin = headers.get("origin")
        return origin is not None and (origin in self.origins or _ANY in self.origins)


def _is_preflighted(headers: Mapping[str, str]) -> bool:
    """Return whether a browser would have asked first. Of credentials it adds only Basic ones by itself."""
    if any(headers.get(name) for name in _ADDED_BY_PROGRAMS):
        return True
    if headers.get("authorization", "")[:7].lower() == "bearer ":
        return True
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return bool(content_type) and content_type not in _SIMPLE_TYPES


def _is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether the browser reports another site: by Fetch Metadata, before 2023 by the address of the page."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    page = headers.get("origin") or headers.get("referer")
    return page is not None and not _is_on_host(page, headers.get("host"))


def _is_on_host(page: str, host: str | None) -> bool:
    """Return whether the address of a page is on ``host``; a malformed one, such as ``http://[``, is not."""
    try:
        return urlsplit(page).netloc == host
    except ValueError:
        return False


def build_csrf_protection(settings: HttpSettings) -> CsrfProtection:
    """Return the protection that ``settings`` select."""
    return CsrfProtection(settings.csrf, frozenset(words(settings.cors_origins)))


def cors_middleware(settings: HttpSettings) -> list[Middleware]:
    """Return the middleware that answers browsers' CORS requests; none where no origin is allowed.

    It does not allow credentials: a page sends ``Authorization`` itself, and a browser's cookies mean nothing here.
    """
    origins = words(settings.cors_origins)
    if not origins:
        return []
    if _ANY in origins:
        logger.warning("GATEWAY_CORS_ORIGINS is `*`: pages of any site may send requests and read the responses")
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
