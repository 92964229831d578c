"""The page of commands, from the command line's own help."""

from collections.abc import Iterator
from typing import Any

import typer.main

from gateway.cli import app
from tests.reference.table import code, table

_INTRODUCTION = """
# Commands

In a clone a command runs with `uv run --no-dev gochat-gateway …`, after an installation with `gochat-gateway …`.
`python -m gateway` is the same program. A wrong setting or option ends it with status 2 and one line for each mistake.
`gochat-gateway --version` prints the version. Settings come from `GATEWAY_…` variables or from a file `.env` in the
working directory: variables override the file, and options override both ([settings](settings.md)).
"""


def commands_page() -> str:
    """Return the page."""
    group: Any = typer.main.get_command(app)
    return "\n".join([_INTRODUCTION, *_sections(group.commands, "")])


def _sections(commands: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, each in commands.items():
        yield _section(prefix + name, each)
        yield from _sections(getattr(each, "commands", {}), f"{prefix}{name} ")


def _section(name: str, command: Any) -> str:
    rows = list(_rows(command))
    parts = [f"## {name}\n", " ".join(command.help.split()) + "\n"]
    if rows:
        parts.append(table(("argument", "default", "meaning"), rows) + "\n")
    return "\n".join(parts)


def _rows(command: Any) -> Iterator[tuple[str, str, str]]:
    for each in command.params:
        option = each.param_type_name == "option"
        names = (*each.opts, *each.secondary_opts) if option else (each.name.upper(),)
        is_flag = isinstance(each.default, bool)
        default = "" if each.default is None or each.required or is_flag else code(str(each.default))
        yield code(*names), default, each.help
