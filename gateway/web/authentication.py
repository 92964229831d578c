"""Step 1 of the endpoint: authenticate the caller, or reject the request (RFC 6750, section 3).

It comes before any byte of the body is read, so that a request without valid credentials costs little.
"""

from dataclasses import dataclass

from gateway.auth import Authenticator, LoginRequired, ScopeRequired, Viewer
from gateway.errors import RateLimited, UpstreamUnavailable
from gateway.web.request import HttpError, HttpRequest, retry_after_header
from gateway.web.security.csrf import CsrfProtection

API_KEY_HEADER = "x-api-key"


@dataclass(frozen=True, slots=True)
class Authentication:
    """Finds the viewer of a request."""

    authenticator: Authenticator
    csrf: CsrfProtection
    """Applies to GETs and uploads: another body must be declared as JSON, which a form of another site cannot do."""

    async def authenticate(self, request: HttpRequest) -> Viewer:
        """Return the viewer; HttpError with 401, 403, 429, or 503 while no token can be verified."""
        headers = request.headers
        if request.method == "GET":
            self.csrf.check(headers)
        elif request.method == "POST":
            self.csrf.require_program(headers)
        authorization, api_key = headers.get("authorization"), headers.get(API_KEY_HEADER)
        try:
            return await self.authenticator.authenticate(authorization, api_key, request.address)
        except LoginRequired as exc:
            raise HttpError(401, exc, {"www-authenticate": exc.challenge}) from exc
        except ScopeRequired as exc:
            raise HttpError(403, exc, {"www-authenticate": exc.challenge}) from exc
        except RateLimited as exc:
            raise HttpError(429, exc, retry_after_header(exc.retry_after)) from exc
        except UpstreamUnavailable as exc:
            raise HttpError(503, exc, retry_after_header(exc.retry_after)) from exc
