"""A line of the report."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``hint`` says what would be right, or where to look."""

    level: Level
    subject: str
    text: str
    hint: str = ""

    @property
    def ok(self) -> bool:
        """Whether the gateway can work nevertheless."""
        return self.level is not Level.FAIL

    def __str__(self) -> str:
        level = self.level.value if self.level is Level.OK else self.level.value.upper()
        return f"{level:<5} {self.subject}: {self.text}{self.hint and ' ' + self.hint}"

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"level": self.level.value, "subject": self.subject, "text": self.text, "hint": self.hint}
