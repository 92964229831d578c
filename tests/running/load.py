"""Callers that send requests without a pause, each on its own connection, and the outcomes."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.harness import NO_CERTIFICATES

_MAX_REQUESTS = 20_000  # per caller: enough for a minute, and a bound if the test does not stop it


class Load:
    """Counts outcomes: an HTTP status and whether the data is complete, or the name of an exception."""

    def __init__(self, url: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._body = body
        self._expected = expected
        self._over = threading.Event()
        self._lock = threading.Condition()

    @contextmanager
    def running(self, callers: int) -> Iterator[None]:
        """Send requests until the context ends."""
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(60)

    def wait_for(self, more: int) -> None:
        """Return when ``more`` further requests have an outcome."""
        with self._lock:
            enough = self.outcomes.total() + more
            assert self._lock.wait_for(lambda: self.outcomes.total() >= enough, 60), (
                "no request gets a response any more"
            )

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=30) as http:
            for _ in range(_MAX_REQUESTS):
                if self._over.is_set():
                    return
                outcome = self._outcome(http)
                with self._lock:
                    self.outcomes[outcome] += 1
                    self._lock.notify_all()

    def _outcome(self, http: httpx.Client) -> str:
        try:
            response = http.post(f"{self._url}/graphql", json=self._body)
        except httpx.HTTPError as exc:
            return type(exc).__name__
        if response.status_code != 200:
            return f"HTTP {response.status_code}"
        return "answered" if response.json() == self._expected else f"wrong: {response.text[:200]}"
