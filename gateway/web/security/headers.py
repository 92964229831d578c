"""The security headers of every response; a response can set its own value for each.

``Strict-Transport-Security`` is not among them: browsers ignore it over plain HTTP (RFC 6797, section 7.2). TLS ends in
a proxy in front of the gateway, and that proxy sends it.

On its own, so that all security measures are in this folder.
"""

from collections.abc import Iterable

RawHeader = tuple[bytes, bytes]

_HEADERS: tuple[RawHeader, ...] = (
    (b"cache-control", b"no-store"),
    # A response is data. Opened as a page it may not run or load anything, or be framed; other sites cannot embed it.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_NAMES = frozenset(name for name, _ in _HEADERS)


def with_security_headers(given: Iterable[RawHeader]) -> list[RawHeader]:
    """Return a response's headers, with the security headers that it lacks."""
    headers = list(given)
    names = _NAMES.intersection([name for name, _ in headers])
    headers += [each for each in _HEADERS if each[0] not in names] if names else _HEADERS
    return headers
