"""Runs the sandbox, or a replay of recorded exchanges, as a server of its own. Both command lines use it."""

from pathlib import Path

import uvicorn

from gateway.sandbox.app import Sandbox
from gateway.sandbox.http.server import sandbox_config
from gateway.sandbox.replay import Replay


def serve(host: str, port: int, replay: Path | None = None) -> None:
    """Serve until a signal stops the process; ``replay`` is a directory of exchanges, ValueError where it has none."""
    app = Sandbox().app
    if replay is not None:
        recorded = Replay(replay)
        print("The recorded requests:", *recorded.paths, sep="\n  ", flush=True)  # noqa: T201 - the command's output
        app = recorded.app
    uvicorn.Server(sandbox_config(app, host=host, port=port)).run()
