"""One HTTP response of the sandbox, and the error that becomes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and headers. The body is dropped for statuses to which HTTP gives none."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bodiless and self.body:
            object.__setattr__(self, "body", b"")

    @property
    def bodiless(self) -> bool:
        """Whether the status allows neither a body nor its length and type."""
        return self.status in (204, 304)


def error_body(code: str, message: str) -> bytes:
    """Encode the contract's error list: the same error twice, in the deprecated form and in the new one."""
    old = {"code": code.upper(), "message": message, "deprecated": True, "will_be_deprecated": False}
    new = {"code": code, "message": message, "deprecated": False, "will_be_deprecated": False}
    return msgspec.json.encode({"errors": [old, new]})


class RefusedError(Exception):
    """A request that the sandbox refuses, with the status and the error code of its response."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = Response(status, error_body(code, message), headers=headers or {})
