"""The operation that a client requests."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """The GraphQL parameters of a request (GraphQL over HTTP, section Request Parameters)."""

    document: str
    name: str | None = None
    variables: dict[str, Any] | None = field(default=None, repr=False)
    uploads: frozenset[str] = frozenset()
    """The names of the variables in which there are uploaded files."""
