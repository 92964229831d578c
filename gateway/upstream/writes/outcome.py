"""What is known of a write: its outcome, why it was refused, and the REST bodies that were read on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What became of a write."""

    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"


class InputError(NamedTuple):
    """Why a write was refused. ``field`` is the path below the mutation's ``input``, empty where it is not known."""

    field: tuple[str, ...]
    code: str
    message: str


class ChatToken(NamedTuple):
    """A token for a chat widget. It is a credential: it goes to its caller and nowhere else."""

    token: str
    expires_at: object

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return "ChatToken()"


@dataclass(frozen=True, slots=True)
class Bodies:
    """REST bodies of a thread that were read after the write: a page of messages by its offset and limit."""

    thread: bytes | None = None
    pages: Mapping[tuple[int, int], bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a write. ``thread_id`` names the thread that may be shown, None where none can be."""

    outcome: Outcome
    errors: tuple[InputError, ...] = ()
    thread_id: str | None = None
    bodies: Bodies = field(default_factory=Bodies, repr=False)
    token: ChatToken | None = field(default=None, repr=False)
