"""The kinds of rows of the contract: fields, objects, enumerations and events.

A kind of value is ``str``, ``int``, ``bool``, ``object`` (any JSON object), ``any`` (any JSON value), the name of an
`ObjectType` or of an `Enumeration`, or a list of one of these: ``[str]``.
"""

from dataclasses import dataclass
from enum import StrEnum

SCALARS = ("str", "int", "bool", "object", "any")


class Certainty(StrEnum):
    """How sure a row is."""

    DOCUMENTED = "documented"
    """The vendor's public reference says so."""
    INFERRED = "inferred"
    """It follows from the reference, which does not say it."""
    UNKNOWN = "unknown"
    """Nobody knows: the gateway works whatever it turns out to be."""


class Format(StrEnum):
    """What a text or an integer holds (JSON Schema: ``format``)."""

    DATE_TIME = "date-time"
    DATE = "date"
    INT64 = "int64"
    """An integer that can pass 32 bits."""
    BASE64 = "base64"


class Recorded(StrEnum):
    """What a recording has of a value (`gateway.upstream.recording`)."""

    INVENTED = "invented"
    """A text or a number that looks like it, always the same one. Nothing else of it is written."""
    KEPT = "kept"
    """The number itself: it names nobody, and the gateway's behaviour depends on it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a JSON object, or one parameter of a query string. Every field may be absent or null."""

    name: str
    kind: str
    note: str = ""
    format: Format | None = None
    certainty: Certainty = Certainty.DOCUMENTED
    deprecated: str | None = None
    """What to use instead, for a field that the vendor has deprecated."""
    recorded: Recorded = Recorded.INVENTED

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return self.kind.startswith("[")

    @property
    def of(self) -> str:
        """The kind of the value, or of each item if it is a list."""
        return self.kind.strip("[]")


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One kind of JSON object."""

    name: str
    fields: tuple[Field, ...]
    note: str = ""
    certainty: Certainty = Certainty.DOCUMENTED
    identified: bool = False
    """Whether it has an ``id`` that is never missing."""
    is_open: bool = False
    """Whether it is known to have more fields than these."""


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A set of values. If ``values`` is empty they are unknown: any text or integer may come."""

    name: str
    note: str = ""
    values: tuple[str, ...] = ()

    @property
    def certainty(self) -> Certainty:
        """How sure the values are."""
        return Certainty.DOCUMENTED if self.values else Certainty.UNKNOWN


@dataclass(frozen=True, slots=True)
class IdPaths:
    """Where the data of an event may have the ids of one kind of subject.

    A path is written with dots, and ``[]`` after the name of a list: ``threads[].thread_id``.
    """

    subject: str
    paths: tuple[str, ...]
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event that the vendor posts."""

    code: str
    ids: IdPaths
    note: str
    data: str | None = None
    """The `ObjectType` of its data; None if that is unknown."""
