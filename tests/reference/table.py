"""Markdown tables."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell must not contain a line break."""
    return "\n".join(_row(each) for each in (headings, ["---"] * len(headings), *rows))


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell.replace('|', chr(92) + '|')} " if cell else " " for cell in cells) + "|"


def code(*names: str) -> str:
    """Return names as code, separated by spaces."""
    return " ".join(f"`{each}`" for each in names)
