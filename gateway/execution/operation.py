"""The operation that a client asks for."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client asks for (GraphQL over HTTP, section Request Parameters)."""

    document: str
    name: str | None = None
    variables: dict[str, Any] | None = None
