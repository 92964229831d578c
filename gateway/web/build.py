"""Builds GraphiQL's page with npm: for the demo, and for whoever builds a wheel.

It imports nothing but the standard library, since a wheel is built where nothing is installed.
"""

import shutil
import subprocess
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "graphiql"
_PATIENCE = 300  # seconds for each of npm's two steps; a slow registry is no reason to wait for ever


def is_built() -> bool:
    """Return whether there is anything to serve."""
    return (_FOLDER / "dist" / "manifest.json").is_file()


def can_build() -> bool:
    """Return whether the sources and npm are here; an installed package has no sources."""
    return (_FOLDER / "package.json").is_file() and shutil.which("npm") is not None


def build(retries: int = 2) -> str | None:
    """Build, trying each download again ``retries`` times; return None, or what npm had to say where it failed."""
    npm = shutil.which("npm") or "npm"
    install = ("ci", "--no-audit", "--no-fund", "--prefer-offline", f"--fetch-retries={retries}")
    for arguments in (install, ("run", "build")):
        try:
            subprocess.run(  # noqa: S603 - our own sources, by npm
                [npm, *arguments], cwd=_FOLDER, check=True, capture_output=True, text=True, timeout=_PATIENCE
            )
        except subprocess.CalledProcessError as exc:
            return f"npm {' '.join(arguments)} failed: {_first_error(exc.stderr or exc.stdout)}"
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"npm {' '.join(arguments)} failed: {exc}"
    return None


def _first_error(said: str) -> str:
    lines = said.strip().splitlines() or ["it did not say why"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])
