"""The page of settings, from the groups in gateway/settings."""

import inspect
from collections.abc import Iterator
from enum import Enum

from pydantic.fields import FieldInfo

from gateway.settings import GROUPS
from gateway.settings.group import Group
from tests.reference.table import code, table

_INTRODUCTION = """
# Settings

Settings come from environment variables, or from a file `.env` in the working directory. Variables override the file,
and [options of a command](commands.md) override both. An empty variable counts as not set. A wrong value ends the
program with status 2 and a line that names the setting. So does a setting that has no effect beside the others, such as
`GATEWAY_JWT_ISSUER` in passthrough mode, unless it has its default value.
"""
_TITLES = {"graphql": "GraphQL", "http": "HTTP"}


def settings_page() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, *(_section(name, group) for name, group in GROUPS.items())])


def _section(name: str, group: type[Group]) -> str:
    title = _TITLES.get(name, name.capitalize())
    return f"## {title}\n\n{inspect.getdoc(group)}\n\n{table(('variable', 'default', 'meaning'), _rows(group))}\n"


def _rows(group: type[Group]) -> Iterator[tuple[str, str, str]]:
    for field in group.model_fields.values():
        yield code(str(field.alias)), _default(field), str(field.description)


def _default(field: FieldInfo) -> str:
    match field.default:
        case None:
            return ""
        case bool():
            return code(str(field.default).lower())
        case Enum():
            return code(str(field.default.value))
        case _:
            return code(str(field.default))
