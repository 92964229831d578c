"""Reads every group of settings from a ``.env`` file, the environment and the command line's flags, and checks them.

Variables override the file, and flags override both.
"""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gateway.errors import ConfigurationError
from gateway.settings.auth import AuthSettings
from gateway.settings.graphql import GraphQLSettings, LimitSettings
from gateway.settings.group import PREFIX, Group
from gateway.settings.server import HttpSettings, ServerSettings, TelemetrySettings
from gateway.settings.upstream import CacheSettings, UpstreamSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can set, in groups: each part of the gateway is given its own."""

    upstream: UpstreamSettings
    cache: CacheSettings
    auth: AuthSettings
    limits: LimitSettings
    graphql: GraphQLSettings
    http: HttpSettings
    server: ServerSettings
    telemetry: TelemetrySettings

    @property
    def shutdown_timeout(self) -> int:
        """Seconds after which what is still under way is cut off: by then every operation has met its own deadline."""
        return self.server.shutdown_timeout or math.ceil(self.upstream.operation_timeout) + 5


GROUPS: Mapping[str, type[Group]] = {each.name: each.type for each in fields(Settings)}  # type: ignore[misc]  # its fields are groups
"""The groups by their names, in the order in which the documentation has them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: the ``attribute`` of a ``group``, and the environment ``variable`` that it is read from."""

    group: str
    attribute: str
    variable: str
    field: FieldInfo


def catalogue() -> dict[str, Setting]:
    """Return every setting by its variable in lower case without the prefix: the name that flags and tests use."""
    found = {}
    for group, model in GROUPS.items():
        for attribute, field in model.model_fields.items():
            variable = str(field.alias)
            found[variable.removeprefix(PREFIX).lower()] = Setting(group, attribute, variable, field)
    return found


def load_settings(overrides: Mapping[str, Any] | None = None, *, env_file: Path = Path(".env")) -> Settings:
    """Read the settings from ``env_file``, then the environment, then ``overrides`` (see `catalogue` for their names).

    Raises ConfigurationError that names every wrong setting, and never shows a value.
    """
    known = catalogue()
    given: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for name, value in (overrides or {}).items():
        if value is not None:
            given[known[name].group][known[name].variable] = value
    groups: dict[str, Any] = {}
    problems: list[str] = []
    for name, model in GROUPS.items():
        try:
            groups[name] = model(_env_file=env_file, **given[name])
        except ValidationError as exc:
            problems += [_explain(model, dict(error)) for error in exc.errors()]
    if problems:
        raise ConfigurationError(problems)
    settings = Settings(**groups)
    _require_time_to_end(settings)
    _require_two_ports(settings)
    return settings


def _require_time_to_end(settings: Settings) -> None:
    timeout = settings.server.shutdown_timeout
    if timeout is not None and timeout < settings.upstream.operation_timeout:
        problem = (
            "GATEWAY_SHUTDOWN_TIMEOUT must be no less than GATEWAY_OPERATION_TIMEOUT: what is under way is answered"
        )
        raise ConfigurationError([problem])


def _require_two_ports(settings: Settings) -> None:
    """Refuse one port for both, also on two addresses: where one of them is any address, the other gets its callers."""
    if settings.server.port and settings.server.port == settings.telemetry.metrics_port:
        raise ConfigurationError(["GATEWAY_METRICS_PORT must differ from GATEWAY_PORT: callers must not reach it"])


def unknown_variables(*, env_file: Path = Path(".env")) -> list[str]:
    """Return one line for each ``GATEWAY_`` variable that is not a setting, with the nearest one that is."""
    known = [name.upper() for name in catalogue()]
    lines = []
    for name in sorted({*os.environ, *dotenv_values(env_file)}):
        # Their case does not matter (pydantic-settings), and the prefix, which all have, makes no two alike.
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
