"""Builds GraphiQL's page when a wheel is built, where npm is there; without, the wheel's page falls back to a CDN."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GraphiQLHook(BuildHookInterface[Any]):
    """An editable installation builds nothing: `uv run` stays as quick as it was."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build what is not built yet."""
        if version == "editable":
            return
        page = runpy.run_path(str(Path(self.root) / "gateway" / "web" / "graphiql" / "build.py"))
        if page["is_built"]():
            return
        problem = page["build"]() if page["can_build"]() else "npm is not installed"
        if problem:
            self.app.display_warning(f"the wheel has no GraphiQL assets, so its page needs a CDN: {problem}")
