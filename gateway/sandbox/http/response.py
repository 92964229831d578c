"""One HTTP answer of the sandbox, and the refusals that become one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: status, body and headers. HTTP gives some statuses no body: theirs is emptied."""

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
    """Encode the contract's error list: the same failure twice, in the deprecated form and in the new one."""
    old = {"code": code.upper(), "message": message, "deprecated": True, "will_be_deprecated": False}
    new = {"code": code, "message": message, "deprecated": False, "will_be_deprecated": False}
    return msgspec.json.encode({"errors": [old, new]})


class RefusedError(Exception):
    """A request the sandbox will not serve, with the status and error code it says so with."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = Answer(status, error_body(code, message), headers=headers or {})
