"""Notes what the tests send, so that it can be recorded and replayed: see `tests.recording`."""

import os
from pathlib import Path

import httpx

NOTES = "NOTE_OPERATIONS"
"""The environment variable with the directory in which each process of the tests writes a file."""


def note(request: httpx.Request) -> None:
    """Append the body of an operation to the file of this process, if the environment names a directory."""
    folder = os.environ.get(NOTES)
    if folder and request.method == "POST" and request.url.path == "/graphql":
        with (Path(folder) / f"{os.getpid()}.jsonl").open("ab") as file:
            file.write(request.read().replace(b"\n", b" ") + b"\n")
