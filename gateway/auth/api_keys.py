"""API keys: generating one, reading the file of known keys, and verifying a key that a caller sends.

A key is ``gochat_<id>_<secret>``. The file holds only its salted hash. The hash is SHA-256 and not scrypt: a slow
hash protects passwords that people choose, but 256 random bits cannot be guessed, and every request would pay for it.
"""

import hashlib
import hmac
import json
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from gateway.auth.challenges import CredentialsRefused
from gateway.auth.viewer import Viewer
from gateway.errors import ConfigurationError

_PREFIX = "gochat"
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749, section 3.3
_HASH = re.compile(r"sha256:([0-9a-f]{32}):([0-9a-f]{64})")
_FIELDS = {"hash", "scopes", "expires"}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key."""

    viewer: Viewer
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)


# Unknown ids are compared with this, so that they take as long as known ones.
_UNKNOWN = ApiKey(Viewer(None), bytes(16), bytes(32))


class ApiKeys:
    """The known keys by their ids. ``now`` is the wall clock, in seconds."""

    def __init__(self, keys: Mapping[str, ApiKey], now: Callable[[], float]) -> None:
        self._keys = dict(keys)
        self._now = now

    def verify(self, key: str) -> Viewer:
        """Return the owner of the key (1 us); CredentialsRefused."""
        prefix, _, rest = key.partition("_")
        known = self._keys.get(rest.partition("_")[0], _UNKNOWN) if prefix == _PREFIX else _UNKNOWN
        if not hmac.compare_digest(_digest(known.salt, key), known.digest):
            raise CredentialsRefused("API key")
        if known.viewer.expires is not None and self._now() >= known.viewer.expires:
            raise CredentialsRefused("API key expired")
        return known.viewer


def generate_api_key(identifier: str, scopes: list[str], expires: date | None) -> tuple[str, str]:
    """Return a new key and its line for the file; ConfigurationError for an id or scope that the file cannot hold."""
    key = f"{_PREFIX}_{identifier}_{secrets.token_urlsafe(32)}"
    salt = secrets.token_bytes(16)
    hashed = f"sha256:{salt.hex()}:{_digest(salt, key).hex()}"
    try:
        _api_key(identifier, {"hash": hashed, "scopes": scopes})
    except ValueError as exc:
        raise ConfigurationError([str(exc)]) from exc
    until = "" if expires is None else f", expires = {expires.isoformat()}"
    # TOML writes such strings as JSON does.
    return key, f'{identifier} = {{ hash = "{hashed}", scopes = {json.dumps(scopes)}{until} }}'


def load_api_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys in the file by their ids; a ConfigurationError names the problem and shows no hash."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise _wrong(path, f"cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise _wrong(path, "is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise _wrong(path, f"is not TOML: {exc}") from exc
    if not document:
        raise _wrong(path, "has no keys: make one with `gochat-gateway api-key`")
    try:
        return {identifier: _api_key(identifier, entry) for identifier, entry in document.items()}
    except ValueError as exc:
        raise _wrong(path, str(exc)) from exc


def _api_key(identifier: str, entry: Any) -> ApiKey:
    """Return a key from its entry in the file; ValueError."""
    if not _ID.fullmatch(identifier):
        raise ValueError("an id must be 1 to 64 letters, digits and hyphens")
    if not isinstance(entry, dict) or entry.keys() - _FIELDS or "hash" not in entry:
        raise ValueError(f"{identifier} must be {{ hash = …, scopes = […], expires = … }}, the last two if wanted")
    found = _HASH.fullmatch(entry["hash"]) if isinstance(entry["hash"], str) else None
    if found is None:
        raise ValueError(f"{identifier}: hash must be as `gochat-gateway api-key` prints it")
    scopes = entry.get("scopes", [])
    if not isinstance(scopes, list) or not all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in scopes):
        raise ValueError(f"{identifier}: scopes must be a list of texts without spaces, quotes and backslashes")
    expires = _moment(identifier, entry.get("expires"))
    viewer = Viewer(None, f"key:{identifier}", frozenset(scopes), expires)
    return ApiKey(viewer, bytes.fromhex(found[1]), bytes.fromhex(found[2]))


def _moment(identifier: str, value: Any) -> float | None:
    match value:
        case None:
            return None
        case datetime(tzinfo=zone) if zone is not None:
            return value.timestamp()
        case date() if not isinstance(value, datetime):
            return datetime.combine(value, time(), UTC).timestamp()
    raise ValueError(f"{identifier}: expires must be a date (UTC, as it begins) or a time with its zone")


def _digest(salt: bytes, key: str) -> bytes:
    return hashlib.sha256(salt + key.encode()).digest()


def _wrong(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError([f"GATEWAY_API_KEYS_FILE: {path} {what}."])
