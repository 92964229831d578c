"""Every setting: in which group it is, and the variable that it is read from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache

from pydantic.fields import FieldInfo

from gateway.settings.auth import AuthSettings
from gateway.settings.graphql import GraphQLSettings, LimitSettings
from gateway.settings.group import PREFIX, Group
from gateway.settings.live import LiveSettings
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
    live: LiveSettings
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


@cache
def catalogue() -> Mapping[str, Setting]:
    """Return every setting by its variable in lower case without the prefix: the name that flags and tests use."""
    found = {}
    for group, model in GROUPS.items():
        for attribute, field in model.model_fields.items():
            variable = str(field.alias)
            found[variable.removeprefix(PREFIX).lower()] = Setting(group, attribute, variable, field)
    return found
