"""Builds GraphiQL's page with npm: for the demo, and for whoever builds a wheel.

It imports nothing but the standard library, since a wheel is built where nothing is installed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

_FOLDER = Path(__file__).parent
_LOOK = 0.1  # seconds between two looks at npm
_PATIENCE = 300  # seconds for each of npm's two steps; a slow registry is no reason to wait for ever


def is_built() -> bool:
    """Return whether there is anything to serve."""
    return (_FOLDER / "dist" / "manifest.json").is_file()


def can_build() -> bool:
    """Return whether the sources and npm are here; an installed package has no sources."""
    return (_FOLDER / "package.json").is_file() and shutil.which("npm") is not None


def build(stop: threading.Event | None = None, retries: int = 2) -> str | None:
    """Build, trying each download again ``retries`` times; return None, or what npm had to say where it failed.

    Where ``stop`` is set meanwhile, npm is ended.
    """
    install = ("ci", "--no-audit", "--no-fund", "--prefer-offline", f"--fetch-retries={retries}")
    for arguments in (install, ("run", "build")):
        problem = _npm(arguments, stop or threading.Event())
        if problem is not None:
            return f"npm {' '.join(arguments)} failed: {problem}"
    return None


def _npm(arguments: tuple[str, ...], stop: threading.Event) -> str | None:
    """Run npm with its children in a group of their own, so that all of them can be ended."""
    command = [shutil.which("npm") or "npm", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own sources, by npm
                command, cwd=_FOLDER, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        except OSError as exc:
            return str(exc)
        with process:
            ended = _wait(process, stop)
        said.seek(0)
        return None if process.returncode == 0 else ended or _first_error(said.read())


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> str | None:
    """Wait for npm; return why it was ended where it was."""
    for _ in range(int(_PATIENCE / _LOOK)):
        if process.poll() is not None:
            return None
        if stop.wait(_LOOK):
            break
    os.killpg(process.pid, signal.SIGKILL)
    return "it was stopped" if stop.is_set() else f"it took more than {_PATIENCE} seconds"


def _first_error(said: str) -> str:
    lines = said.strip().splitlines() or ["it did not say why"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])
