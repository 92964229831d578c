"""The door as HTTP has it: who calls, or the status and the headers that keep them out (RFC 6750, section 3)."""

from collections.abc import Mapping
from math import ceil

from starlette.types import Scope

from gateway.auth import Authenticator, LoginRequired, ScopeRequired, Viewer
from gateway.errors import RateLimited, UpstreamUnavailable
from gateway.web.http_error import HttpError

API_KEY_HEADER = "x-api-key"


async def viewer_of(authenticator: Authenticator, scope: Scope, headers: Mapping[str, str]) -> Viewer:
    """Return who sent the request; HttpError with 401, 403, 429, or 503 while nobody's token can be verified."""
    authorization, api_key = headers.get("authorization"), headers.get(API_KEY_HEADER)
    try:
        return await authenticator.authenticate(authorization, api_key, address_of(scope))
    except LoginRequired as exc:
        raise HttpError(401, exc, {"www-authenticate": exc.challenge}) from exc
    except ScopeRequired as exc:
        raise HttpError(403, exc, {"www-authenticate": exc.challenge}) from exc
    except RateLimited as exc:
        raise HttpError(429, exc, retry_after(exc.retry_after)) from exc
    except UpstreamUnavailable as exc:
        raise HttpError(503, exc, retry_after(exc.retry_after)) from exc


def address_of(scope: Scope) -> str | None:
    """Return the address of who sent the request; None where it is unknown."""
    client = scope.get("client")
    return client[0] if client else None


def retry_after(seconds: float | None) -> dict[str, str]:
    """Return the header that says when to come again, in whole seconds (RFC 9110, section 10.2.3)."""
    return {} if seconds is None else {"retry-after": str(max(1, ceil(seconds)))}
