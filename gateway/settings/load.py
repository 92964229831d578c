"""Reads every group of settings from a ``.env`` file, the environment and the command line's flags, and checks them.

Variables override the file, and flags override both.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from gateway.errors import ConfigurationError
from gateway.settings.catalogue import GROUPS, Settings, catalogue
from gateway.settings.effects import without_effect
from gateway.settings.group import PREFIX, Group

_UPLOAD_OVERHEAD_BYTES = 1024 * 1024  # what ten files count besides their contents, and more


def load_settings(
    overrides: Mapping[str, Any] | None = None, *, env_file: Path = Path(".env"), strict: bool = True
) -> Settings:
    """Read the settings from ``env_file``, then the environment, then ``overrides`` (see `catalogue` for their names).

    ``strict`` refuses a setting that has no effect beside the others. Raises ConfigurationError that names every wrong
    setting, and never shows a value.
    """
    given = {name.upper(): value for name, value in _variables(env_file) if value}
    given |= {catalogue()[name].variable: value for name, value in (overrides or {}).items() if value is not None}
    groups: dict[str, Any] = {}
    problems: list[str] = []
    for name, model in GROUPS.items():
        try:
            groups[name] = model.model_validate(given)
        except ValidationError as exc:
            problems += [_explain(model, dict(error)) for error in exc.errors()]
    if problems:
        raise ConfigurationError(problems)
    settings = Settings(**groups)
    problems = [
        *_time_to_end(settings),
        *_two_ports(settings),
        *_room_for_uploads(settings),
        *_one_recorder(settings),
        *(without_effect(settings) if strict else ()),
    ]
    if problems:
        raise ConfigurationError(problems)
    return settings


def _time_to_end(settings: Settings) -> Iterator[str]:
    timeout = settings.server.shutdown_timeout
    if timeout is not None and timeout < settings.upstream.operation_timeout:
        yield "GATEWAY_SHUTDOWN_TIMEOUT must be no less than GATEWAY_OPERATION_TIMEOUT: what is under way is answered"


def _two_ports(settings: Settings) -> Iterator[str]:
    """Refuse one port for both, also on two addresses: where one of them is any address, the other gets its callers."""
    if settings.server.port and settings.server.port == settings.telemetry.metrics_port:
        yield "GATEWAY_METRICS_PORT must differ from GATEWAY_PORT: callers must not reach it"


def _room_for_uploads(settings: Settings) -> Iterator[str]:
    if settings.graphql.upload_directory_max_bytes < settings.limits.upload + _UPLOAD_OVERHEAD_BYTES:
        yield "GATEWAY_UPLOAD_DIRECTORY_MAX_BYTES must be 1 MB more than GATEWAY_MAX_UPLOAD_BYTES: an upload must fit"


def _one_recorder(settings: Settings) -> Iterator[str]:
    """Refuse several: each invents other values for the same ids."""
    if settings.upstream.record is not None and settings.server.workers > 1:
        yield "GATEWAY_RECORD needs GATEWAY_WORKERS to be 1: one process records."


def _variables(env_file: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the names and values of the file, then those of the environment. The case of a name does not matter."""
    yield from dotenv_values(env_file).items()
    yield from os.environ.items()


def unknown_variables(*, env_file: Path = Path(".env")) -> list[str]:
    """Return one line for each ``GATEWAY_`` variable that is not a setting, with the nearest one that is."""
    known = [name.upper() for name in catalogue()]
    lines = []
    for name in sorted({name for name, _ in _variables(env_file)}):
        # The prefix, which all have, makes no two alike.
        bare = name.upper().removeprefix(PREFIX)
        if bare != name.upper() and bare not in known:
            near = difflib.get_close_matches(bare, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            lines.append(f"{name} is not a setting and is ignored{hint}")
    return lines


def _explain(model: type[Group], error: dict[str, Any]) -> str:
    """One line of a pydantic error: which variable, and what would be right."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    variable = str(error["loc"][0]).upper()
    field = next(each for each in model.model_fields.values() if each.alias == variable)
    return f"{variable}: {message[0].lower()}{message[1:]}. {field.description}"
