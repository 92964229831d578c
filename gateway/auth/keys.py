"""Reads the public keys that tokens are verified with: of a JWKS (RFC 7517), or of a PEM file."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from gateway.errors import ConfigurationError

_MOST_KEYS = 100
_LEAST_RSA_BITS = 2048


def published_keys(body: bytes) -> list[Any]:
    """Return the members of a JWKS; ValueError where it is none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError("not JSON") from exc
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > _MOST_KEYS:
        raise ValueError(f"no `keys`, or more than {_MOST_KEYS}")
    return members


def usable_keys(members: Iterable[Any]) -> tuple[Key, ...]:
    """Return the keys that tokens can be verified with; ValueError where there is none.

    Others are passed over: an issuer may publish what only newer programs know (RFC 7517, section 5).
    """
    keys = tuple(_usable_keys(members))
    if not keys:
        raise ValueError("no key in it can be used")
    return keys


def _usable_keys(members: Iterable[Any]) -> Iterator[Key]:
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of short RSA keys, which are passed over
                key = import_key(member)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, OctKey) and not _is_short(key):
            yield key


def key_from_file(path: Path) -> Key:
    """Return the public key in a PEM file; ConfigurationError where there is none that will do."""
    try:
        pem = path.read_bytes()
    except OSError as exc:
        problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} cannot be read ({exc.strerror})."
        raise ConfigurationError([problem]) from exc
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                key: Key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} holds a private key; it must be the issuer's public one."
            raise ConfigurationError([problem])
        if not _is_short(key):
            return key
    problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} holds no public key in PEM (RSA of 2048 bits or more, EC, Ed25519)."
    raise ConfigurationError([problem])


def fits(key: Key, algorithm: str) -> bool:
    """Return whether the key may verify this algorithm: its type, its curve, and what the issuer says it is for."""
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True


def _is_short(key: Key) -> bool:
    return isinstance(key, RSAKey) and key.raw_value.key_size < _LEAST_RSA_BITS
