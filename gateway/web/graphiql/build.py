"""Builds GraphiQL's page with npm, for the demo and for a wheel.

It imports only the standard library: while a wheel is built, the gateway's dependencies are not installed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

_FOLDER = Path(__file__).parent
_POLL_SECONDS = 0.1
_STEP_TIMEOUT_SECONDS = 300  # for each of npm's two steps, which a slow registry can stretch


def is_built() -> bool:
    """Return whether the page is built."""
    return (_FOLDER / "dist" / "manifest.json").is_file()


def can_build() -> bool:
    """Return whether the sources and npm are available; an installed package has no sources."""
    return (_FOLDER / "package.json").is_file() and shutil.which("npm") is not None


def build(stop: threading.Event | None = None, retries: int = 2) -> str | None:
    """Build, and retry each download ``retries`` times. Return None, or npm's error message if it failed.

    If ``stop`` is set meanwhile, npm is killed.
    """
    install = ("ci", "--no-audit", "--no-fund", "--prefer-offline", f"--fetch-retries={retries}")
    for arguments in (install, ("run", "build")):
        problem = _npm(arguments, stop or threading.Event())
        if problem is not None:
            return f"npm {' '.join(arguments)} failed: {problem}"
    return None


def _npm(arguments: tuple[str, ...], stop: threading.Event) -> str | None:
    """Run npm in a process group of its own, so that its children can be killed with it."""
    command = [shutil.which("npm") or "npm", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own sources, by npm
                command, cwd=_FOLDER, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as exc:
            return str(exc)
        with process:
            killed = _wait(process, stop)
        output.seek(0)
        return None if process.returncode == 0 else killed or _first_error(output.read())


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> str | None:
    """Wait for npm; return why it was killed, None if it ended by itself."""
    for _ in range(int(_STEP_TIMEOUT_SECONDS / _POLL_SECONDS)):
        if process.poll() is not None:
            return None
        if stop.wait(_POLL_SECONDS):
            break
    os.killpg(process.pid, signal.SIGKILL)
    return "it was stopped" if stop.is_set() else f"it took more than {_STEP_TIMEOUT_SECONDS} seconds"


def _first_error(output: str) -> str:
    lines = output.strip().splitlines() or ["npm printed no error"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])
