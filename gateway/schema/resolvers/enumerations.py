"""The names that an operator gives the values of the REST API's open enumerations (``GATEWAY_ENUMS``).

The values are not published, so that the gateway passes on any text or integer. An operator who knows them writes a
file such as ``{"ThreadStatus": {"2": "Waiting"}}``. Where a value is read, its name stands instead; where a name is
written, its value goes to the REST API. A value without a name is passed on unchanged, and counted.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from graphql import GraphQLNamedType, GraphQLSchema
from graphql.language import ValueNode
from prometheus_client.core import Metric
from strawberry.types.scalar import ScalarDefinition

from gateway.errors import ConfigurationError
from gateway.telemetry.metrics import counter
from gateway.upstream.contract import ENUMERATIONS

Value: TypeAlias = str | int
NameOf: TypeAlias = Callable[[Any], Any]
"""Returns the name of a value that was read, and a value without a name unchanged."""

OPEN = tuple(name for name, each in ENUMERATIONS.items() if not each.values)
"""The enumerations whose values are unknown."""

_EXTENSION = "gateway.name_of"
_EXAMPLE = '{"ThreadStatus": {"2": "Waiting"}}'
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Enumerations:
    """The names of values: by enumeration, from the value as a text to its name.

    ``unmapped`` counts, by enumeration, the values without a name. Only the enumerations that have names are counted.
    """

    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unmapped: Counter[str] = field(default_factory=Counter)

    @property
    def values(self) -> Mapping[str, list[Value]]:
        """The values that have names, by enumeration."""
        return {name: [wire for key in names for wire in _wire_forms(key)] for name, names in self.names.items()}

    def attach(self, schema: GraphQLSchema) -> None:
        """Let `name_of` find the names in ``schema``."""
        for enumeration, names in self.names.items():
            by_value = {wire: name for key, name in names.items() for wire in _wire_forms(key)}
            schema.type_map[enumeration].extensions[_EXTENSION] = self._reader(enumeration, by_value)

    def scalars(self, scalars: Mapping[object, ScalarDefinition]) -> dict[object, ScalarDefinition]:
        """Return the scalars of a schema, of which those with names turn a name into its value."""
        return {
            key: _writer(each, self.names[each.name]) if each.name in self.names else each
            for key, each in scalars.items()
        }

    def _reader(self, enumeration: str, by_value: Mapping[Value, str]) -> NameOf:
        def name_of(value: Value) -> Value:
            name = by_value.get(value)
            if name is None:
                self.unmapped[enumeration] += 1
                return value
            return name

        return name_of


NO_NAMES = Enumerations()
"""No names, and so nothing to count."""


def name_of(graphql_type: GraphQLNamedType) -> NameOf | None:
    """Return what names the values of a scalar, None for a scalar without names."""
    found: NameOf | None = graphql_type.extensions.get(_EXTENSION)
    return found


def _wire_forms(key: str) -> tuple[Value, ...]:
    """Return what a key of the file stands for: JSON has only texts as keys, so ``"2"`` is the integer as well."""
    return (key, int(key)) if _INTEGER.fullmatch(key) else (key,)


def _writer(scalar: ScalarDefinition, names: Mapping[str, str]) -> ScalarDefinition:
    values = {name: _wire_forms(key)[-1] for key, name in _keys_to_write(names).items()}
    parse_value, parse_literal = scalar.parse_value, scalar.parse_literal
    if parse_value is None or parse_literal is None:
        raise ValueError(f"{scalar.name} parses nothing")

    def value_of(value: Any) -> Any:
        parsed = parse_value(value)
        return values.get(parsed, parsed)

    def value_of_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        parsed = parse_literal(node, variables)
        return values.get(parsed, parsed)

    return replace(scalar, parse_value=value_of, parse_literal=value_of_literal)


def _keys_to_write(names: Mapping[str, str]) -> dict[str, str]:
    """Return the keys whose values are written for their names: an integer rather than a text with the same name."""
    texts = {key: name for key, name in names.items() if not _INTEGER.fullmatch(key)}
    integers = {key: name for key, name in names.items() if key not in texts}
    return {**{key: name for key, name in texts.items() if name not in integers.values()}, **integers}


def load_enumerations(path: Path | None) -> Enumerations:
    """Return the names in a file, none without one; raise ConfigurationError with everything that is wrong in it."""
    if path is None:
        return NO_NAMES
    where = f"GATEWAY_ENUMS: {path}"
    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as exc:
        raise ConfigurationError([f"{where} cannot be read: {exc.strerror}."]) from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError([f"{where} must be a JSON object such as {_EXAMPLE}: {exc}."]) from exc
    if not isinstance(given, dict):
        raise ConfigurationError([f"{where} must be a JSON object such as {_EXAMPLE}."])
    if problems := [f"{where}: {problem}" for problem in _problems(given)]:
        raise ConfigurationError(problems)
    return Enumerations(given)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"the key {json.dumps(repeated[0])} stands there twice")
    return dict(pairs)


def _problems(given: dict[str, Any]) -> Iterator[str]:
    for enumeration, names in given.items():
        if enumeration not in OPEN:
            yield f"{enumeration} is no enumeration without published values. Those are {', '.join(sorted(OPEN))}."
        elif not isinstance(names, dict) or not names:
            yield f"{enumeration} must be an object with at least one value and its name, such as {_EXAMPLE}."
        else:
            yield from (f"{enumeration}: {problem}" for problem in _problems_of_names(names))


def _problems_of_names(names: dict[str, Any]) -> Iterator[str]:
    for key, name in names.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield (
                f"the name of {json.dumps(key)} is {json.dumps(name)}: it must be a text of at most 64 letters, digits "
                "and `_` that begins with a letter."
            )
        elif names.get(name, name) != name:
            yield f"the name of {json.dumps(key)} is {name}, which is a value with another name: use different names."
    texts = {key: name for key, name in names.items() if isinstance(name, str)}
    for name, count in Counter(_keys_to_write(texts).values()).items():
        if count > 1:
            yield f"{name} is the name of {count} values: it must be clear which one is written. Use different names."


def enumeration_metrics(enumerations: Enumerations) -> Iterator[Metric]:
    """Yield how many values had no name. They are read at each scrape."""
    yield counter(
        "upstream_unmapped_values",
        "Values of enumerations that the REST API sent and GATEWAY_ENUMS has no name for.",
        ("enumeration",),
        {(name,): enumerations.unmapped[name] for name in enumerations.names},
    )
