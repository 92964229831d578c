"""The pages whose tables are read from the code: docs/reference, and tables in two other pages."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.reference.clients import clients_page
from tests.reference.commands import commands_page
from tests.reference.errors import errors_page
from tests.reference.metrics import metrics_page
from tests.reference.rest_api import rest_api_page
from tests.reference.rooms import architecture_page
from tests.reference.settings import settings_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMAND = "uv run python -m tests.reference"
NOTE = f"<!-- Written by `{COMMAND}` from the code: change it there. -->"

PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
    "rest-api.md": rest_api_page,
    "settings.md": settings_page,
}


def written() -> dict[Path, str]:
    """Return the text that each page should have, by its path."""
    reference = {DOCS / "reference" / name: f"{NOTE}\n\n{page().strip()}\n" for name, page in PAGES.items()}
    architecture = DOCS / "contributing" / "architecture.md"
    clients = DOCS / "clients.md"
    return {
        **reference,
        architecture: architecture_page(architecture.read_text(encoding="utf-8")),
        clients: clients_page(clients.read_text(encoding="utf-8")),
    }
