"""The headers that every answer has, unless it says otherwise itself.

``Strict-Transport-Security`` is not among them: it means nothing over plain HTTP (RFC 6797, section 7.2), and TLS ends
in front of the gateway. Whatever ends it says so.
"""

from collections.abc import Iterable

RawHeader = tuple[bytes, bytes]

_HEADERS: tuple[RawHeader, ...] = (
    (b"cache-control", b"no-store"),
    # An answer is data. Opened as a page it may run, load and be framed by nothing; embedded in one it is not readable.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def with_security_headers(given: Iterable[RawHeader]) -> list[RawHeader]:
    """Return a response's headers with those that it does not have."""
    headers = list(given)
    names = [name for name, _ in headers]
    headers += [each for each in _HEADERS if each[0] not in names]
    return headers
