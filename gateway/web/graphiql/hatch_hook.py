"""Builds GraphiQL's page into the wheel if npm is installed; otherwise the wheel's page loads GraphiQL from a CDN.

On its own, since it runs in hatchling, where the gateway's packages are not installed.
"""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GraphiQLHook(BuildHookInterface[Any]):
    """Builds the page. An editable installation does not, so that `uv run` stays fast."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the page unless it is built."""
        if version == "editable":
            return
        page = runpy.run_path(str(Path(self.root) / "gateway" / "web" / "graphiql" / "build.py"))
        if page["is_built"]():
            return
        problem = page["build"]() if page["can_build"]() else "npm is not installed"
        if problem:
            self.app.display_warning(f"the wheel has no GraphiQL assets, so its page needs a CDN: {problem}")
