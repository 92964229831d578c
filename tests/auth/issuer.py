"""A token issuer on a socket: it publishes its JWKS, counts the fetches, and can be down, slow or wrong."""

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import ExitStack
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import BackgroundServer, sandbox_config
from tests.harness import Clock

NAME = "https://issuer.example"
AUDIENCE = "gochat-gateway"


PrivateKey = ECKey | RSAKey


class Issuer:
    """Signs with its newest key. ``clock`` gives its time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.keys: dict[str, PrivateKey] = {}
        self.fetches = 0
        self.answer: tuple[int, bytes] | None = None
        """The response in place of its keys: a status and a body."""
        self._going = threading.Event()
        self._going.set()
        self._held = threading.Semaphore(0)
        self._port = 0
        self._servers = ExitStack()
        self.rotate("first")
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/keys"

    def start(self) -> None:
        """Start, on the same port as before."""
        app = Starlette(routes=[Route("/keys", self._publish), Route("/moved", self._publish)])
        self._port = self._servers.enter_context(BackgroundServer(sandbox_config(app), port=self._port)).port

    def stop(self) -> None:
        """Stop: connections are refused."""
        self._going.set()
        self._servers.close()

    def hold(self) -> None:
        """Hold every response until `release`."""
        self._going.clear()

    def release(self) -> None:
        self._going.set()

    def wait_for_a_fetch(self) -> None:
        """Return when a request is held."""
        assert self._held.acquire(timeout=10)

    def _publish(self, _request: Request) -> Response:
        self.fetches += 1
        if not self._going.is_set():
            self._held.release()
            self._going.wait(10)
        if self.answer is not None:
            status, body = self.answer
            return Response(body, status, headers={"location": "/moved"} if status == 302 else None)
        return Response(self.jwks, media_type="application/jwk-set+json")

    @property
    def jwks(self) -> bytes:
        """The document that publishes its keys."""
        published = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        return json.dumps({"keys": published}).encode()

    def rotate(self, kid: str, key: PrivateKey | None = None, *, keep: bool = False) -> None:
        """Publish another key and sign with it; the other keys are withdrawn unless ``keep``."""
        self.keys = {**(self.keys if keep else {}), kid: key or ECKey.generate_key("P-256")}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token, with ``changes``; a claim that is None is left out."""
        now = int(self.clock())
        claims = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, key: PrivateKey | None = None, **changes: Any) -> str:
        """Return a token, signed with ``key`` or the newest key."""
        kid, last = list(self.keys.items())[-1]
        signing = key or last
        algorithm = "RS256" if isinstance(signing, RSAKey) else "ES256"
        protected = {"alg": algorithm, "kid": kid, **(header or {})}
        protected = {name: value for name, value in protected.items() if value is not None}
        registry = JWSRegistry(algorithms=[protected["alg"]], strict_check_header=False)
        return jwt.encode(protected, self.claims(**changes), signing, registry=registry)


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """Return a token that no library generates: unsigned, or signed with HMAC-SHA-256 and ``secret``."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    signature = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def encoded(value: Any) -> str:
    """Return an encoded part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def eventually(happened: Any) -> None:
    """Return when ``happened`` returns true; fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)
