"""The report of a check for drift: what differs, and what was learned. It has no value of a response.

The only exceptions are harmless values of the enumerations that are not published.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from gateway.errors import ConfigurationError
from gateway.upstream.drift.comparison import Drift, DriftKind


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the contract calls unknown. Types stand for values, except of enumerations."""

    messages_order: str
    messages_default_limit: str
    messages_largest_limit: str
    enumerations: dict[str, list[str | int]]
    external_message_ids: bool
    """Whether a thread has the field."""
    token_fields: dict[str, str]
    customer_fields: dict[str, str]
    """Those of a customer's details that are not documented."""
    encodings: list[str]
    rate_headers: list[str]


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One difference in a report; the fields are those of a `Drift`, without its value."""

    kind: DriftKind
    route: str
    path: str
    expected: str
    came: str
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.kind.value:<15} {self.route:<13} {self.path:<40} expected {self.expected}, came {self.came}"


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report. ``responses`` is how many responses of each route were compared."""

    version: int
    responses: dict[str, int]
    drift: list[Difference]
    learned: Learned

    def new_since(self, baseline: "Report | None") -> list[Difference]:
        """Return the differences that an earlier report does not have."""
        known = set() if baseline is None else set(baseline.drift)
        return [each for each in self.drift if each not in known]

    def write(self, path: Path) -> None:
        """Write it as JSON; raise OSError where that is impossible."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def build_report(responses: Mapping[str, int], drifts: Iterable[Drift], learned: Learned) -> Report:
    """Return the report of a check."""
    differences = dict.fromkeys(Difference(*drift[:6]) for drift in drifts)
    return Report(1, dict(responses), sorted(differences, key=_order), learned)


def read_report(path: Path, option: str) -> Report:
    """Return a report that was written before; raise ConfigurationError, naming the ``option``, where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as exc:
        raise ConfigurationError([f"{option}: {path} cannot be read: {exc.strerror}."]) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigurationError([f"{option}: {path} is no report of `check --drift`: {exc}."]) from exc


def _order(difference: Difference) -> tuple[str, str, str, str]:
    return difference.kind.value, difference.route, difference.path, difference.came
