"""Why a connection failed, and what to do about it, from the exceptions behind an error."""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.http1 import ConnectTimedOut, InvalidResponse, OutOfDescriptors, ReadTimedOut


@dataclass(frozen=True, slots=True)
class Reason:
    """What happened, and a hint: what would be right, or where to look."""

    text: str
    hint: str


_EXPIRED, _NOT_YET_VALID, _WRONG_HOST = 10, 9, 62  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and its like
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})


def reason_of(exc: BaseException, setting: str) -> Reason | None:
    """Return why, None where it is unknown. ``setting`` holds the address that could not be reached."""
    for cause in _chain(exc):
        reason = _of(cause, setting)
        if reason is not None:
            return reason
    return None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Give the exceptions from the first cause to the error itself."""
    found: list[BaseException] = []
    current: BaseException | None = exc
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    yield from reversed(found)


_REASONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (socket.gaierror, "The host is unknown.", "Check the host in {}, and the DNS of this machine."),
    (ConnectionRefusedError, "The connection was refused.", "Nothing listens there: check the port in {}."),
    (ConnectTimedOut, "No connection was opened in time.", "Check {}, and whether a firewall drops what is sent."),
    (ReadTimedOut, "It did not answer in time.", "Is it overloaded? Is {} the right address?"),
    (InvalidResponse, "What answers there is not HTTP.", "Check {}: a port with TLS needs `https://`."),
    (OutOfDescriptors, "This process may open no more files.", "Raise the limit (`ulimit -n`)."),
)


def _of(exc: BaseException, setting: str) -> Reason | None:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate(exc, setting)
    if isinstance(exc, ssl.SSLError):
        return _tls(exc, setting)
    for kind, text, hint in _REASONS:
        if isinstance(exc, kind):
            return Reason(text, hint.format(setting))
    if isinstance(exc, OSError) and exc.errno in _NO_ROUTE:
        return Reason("There is no route to the host.", f"Check {setting}, and the network of this machine.")
    return None


def _certificate(exc: ssl.SSLCertVerificationError, setting: str) -> Reason:
    if exc.verify_code == _EXPIRED:
        return Reason("Its certificate has expired.", "It has to be renewed, or the clock of this machine is wrong.")
    if exc.verify_code == _NOT_YET_VALID:
        return Reason("Its certificate is not valid yet.", "Check the clock of this machine.")
    if exc.verify_code == _WRONG_HOST:
        return Reason("Its certificate is for another host.", f"Check the host in {setting}.")
    if exc.verify_code in _UNKNOWN_AUTHORITY:
        return Reason(
            "Its certificate is from an authority that is not trusted.",
            "If it is your own authority, name its certificate in GATEWAY_UPSTREAM_CA_FILE.",
        )
    return Reason("Its certificate is not accepted.", "See what `openssl s_client` says about it.")


def _tls(exc: ssl.SSLError, setting: str) -> Reason:
    if exc.reason in _NO_TLS:
        return Reason("That port does not speak TLS.", f"Use `http://` in {setting}, or its port with TLS.")
    return Reason("TLS could not be agreed upon.", "It may want a client certificate, or another version of TLS.")
