"""Notes the operations that reach the gateways in the process of the tests: a plugin of pytest for `tests.recording`.

Each is a line of JSON with the test that sent it. Tests that start programs send theirs to other processes, and tests
without the sandbox have nothing that could be recorded: both are left out.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.server import config

FOLDER = "NOTE_OPERATIONS"
"""The environment variable with the directory in which each process of the tests writes a file."""

_SANDBOX = "upstream"
"""The fixture that starts the sandbox."""

_MOST_CHARACTERS = 1_000_000
_writing = threading.Lock()


class Note(NamedTuple):
    """What a test sent: one message of GraphQL, as it came; ``text`` is None where it is too long to be kept."""

    test: str
    text: str | None


def read_notes(folder: Path) -> Iterator[Note]:
    """Yield what the tests sent."""
    for path in sorted(folder.iterdir()):
        for line in path.read_bytes().splitlines():
            yield Note(**json.loads(line))


def pytest_load_initial_conftests() -> None:
    """Let every gateway that is configured from now on note what it receives."""
    configured = config.gateway_config

    def noting(app: Any, **options: Any) -> Any:
        return configured(_Noting(app, Path(os.environ[FOLDER])), **options)

    pytest.MonkeyPatch().setattr(config, "gateway_config", noting)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests without the sandbox."""
    without = [item for item in items if _SANDBOX not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in set(without)]
    config.hook.pytest_deselected(items=without)


class _Noting:
    """Wraps the application of a gateway, and notes what `/graphql` receives."""

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app = app
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("path", "").endswith("/graphql"):
            return await self._app(scope, receive, send)
        if scope.get("method") == "GET" and scope["query_string"]:
            self._note(json.dumps(dict(parse_qsl(scope["query_string"].decode("latin-1")))))
        body: list[bytes] = []

        async def noting_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.append(message.get("body", b""))
                if not message.get("more_body") and any(body):
                    self._note(b"".join(body).decode(errors="replace"))
                    body.clear()
            elif message["type"] == "websocket.receive":
                self._note(message.get("text") or "")
            return message

        return await self._app(scope, noting_receive, send)

    def _note(self, text: str) -> None:
        kept = text if len(text) <= _MOST_CHARACTERS else None
        line = json.dumps({"test": os.environ.get("PYTEST_CURRENT_TEST", ""), "text": kept})
        with _writing, (self._folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(f"{line}\n")
