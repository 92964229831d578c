"""The accounts of the REST API: programmatic users, their tokens, and the lock after too many wrong passwords."""

import base64
import binascii
import hmac
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.sandbox.http.response import RefusedError

USERNAME: Final = "gateway@sandbox.example"
PASSWORD: Final = "sandbox-password"  # noqa: S105 - the documented password of the sandbox's one default user


@dataclass(frozen=True, slots=True)
class _Token:
    username: str
    expires_at: float


class Accounts:
    """The default user and any `users` beside it (name to password). Safe to call from any thread.

    `token_lifetime` (seconds), `announce_expiry` (whether the token response has `expires_in`) and
    `lockout_after` (wrong passwords in a row) may be changed at any time. The error codes are the sandbox's own,
    because those of the REST API are unknown.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        token_lifetime: float = 3600.0,
        announce_expiry: bool = True,
        lockout_after: int = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.token_lifetime = token_lifetime
        self.announce_expiry = announce_expiry
        self.lockout_after = lockout_after
        self._clock = clock
        self._passwords = {USERNAME: PASSWORD, **(users or {})}
        self._wrong: Counter[str] = Counter()
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.RLock()

    def issue(self, username: str, password: str) -> dict[str, object]:
        """Return the body of the token call.

        Raises `RefusedError`: 401 for a wrong name or password, 403 for a locked account.
        """
        with self._lock:
            self._login(username, password)
            now = self._clock()
            self._tokens = {text: token for text, token in self._tokens.items() if token.expires_at > now}
            text = secrets.token_urlsafe(24)
            self._tokens[text] = _Token(username, now + self.token_lifetime)
        body: dict[str, object] = {"access_token": text, "token_type": "bearer"}
        return {**body, "expires_in": int(self.token_lifetime)} if self.announce_expiry else body

    def authenticate(self, authorization: str | None) -> str:
        """Return the user whose credential an `Authorization` header holds.

        Raises `RefusedError`: 401 for a missing or wrong credential, 403 for a locked account.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return self._owner(credential)
        if scheme.lower() == "basic":
            username, password = _split_basic(credential)
            with self._lock:
                self._login(username, password)
            return username
        raise _unauthorized("authentication_required", "Send a Basic or a Bearer credential.")

    def identify(self, authorization: str | None) -> str | None:
        """Return the user a credential seems to belong to, for the call log; it is neither checked nor counted."""
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            token = self._tokens.get(credential)
            return token.username if token else None
        if scheme.lower() == "basic":
            try:
                return _split_basic(credential)[0]
            except RefusedError:
                return None
        return None

    def revoke_tokens(self) -> None:
        """Revoke every token issued so far."""
        with self._lock:
            self._tokens = {}

    def unlock(self) -> None:
        """Unlock all accounts and forget their wrong passwords, as the vendor's support would."""
        with self._lock:
            self._wrong.clear()

    def wrong_logins(self, username: str = USERNAME) -> int:
        """Return the number of wrong passwords in a row for an account."""
        return self._wrong[username]

    def is_locked(self, username: str = USERNAME) -> bool:
        """Return whether an account is locked."""
        return self._wrong[username] >= self.lockout_after

    def _login(self, username: str, password: str) -> None:
        expected = self._passwords.get(username)
        if expected is not None:
            self._refuse_locked(username)
        if expected is None or not hmac.compare_digest(expected.encode(), password.encode()):
            self._wrong[username] += expected is not None
            raise _unauthorized("invalid_credentials", "The username or the password is wrong.")
        self._wrong.pop(username, None)

    def _owner(self, credential: str) -> str:
        token = self._tokens.get(credential)
        if token is None:
            raise _unauthorized("invalid_token", "The token is not valid.")
        if token.expires_at <= self._clock():
            raise _unauthorized("token_expired", "The token has expired.")
        self._refuse_locked(token.username)
        return token.username

    def _refuse_locked(self, username: str) -> None:
        if self.is_locked(username):
            raise RefusedError(403, "account_locked", "Too many wrong passwords: the account is locked.")


def _split_basic(credential: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(credential, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise _unauthorized("invalid_credentials", "The Basic credential is not base64 of text.") from exc
    if not colon:
        raise _unauthorized("invalid_credentials", "The Basic credential has no colon.")
    return username, password


def _unauthorized(code: str, message: str) -> RefusedError:
    return RefusedError(401, code, message, {"www-authenticate": 'Basic realm="sandbox"'})
