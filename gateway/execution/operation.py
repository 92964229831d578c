"""The operation that a client requests."""

from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True):
    """The GraphQL parameters of a request (GraphQL over HTTP, section Request Parameters)."""

    document: str
    name: str | None = None
    variables: dict[str, Any] | None = None
    uploads: frozenset[str] = frozenset()
    """The names of the variables in which there are uploaded files."""

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return f"{type(self).__name__}({self.name!r})"
