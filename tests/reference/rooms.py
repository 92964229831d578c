"""The table of rooms in the architecture page, from the folders of the package and their docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.reference.table import code, table

ROOT = Path(__file__).parents[2]
_TABLE = re.compile(r"(<!-- rooms: .*? -->\n).*?(<!-- end of rooms -->)", re.DOTALL)


def architecture_page(page: str) -> str:
    """Return the page with the table as it is now."""
    return _TABLE.sub(lambda marks: f"{marks[1]}\n{table(('room', 'job', 'modules'), _rows())}\n\n{marks[2]}", page)


def _rows() -> Iterator[tuple[str, str, str]]:
    for package in sorted((ROOT / "gateway").rglob("__init__.py")):
        folder = package.parent
        if "node_modules" not in folder.parts:
            modules = [each.stem for each in sorted(folder.glob("*.py")) if not each.stem.startswith("__")]
            yield code(str(folder.relative_to(ROOT))), _job(package), code(*modules)


def _job(package: Path) -> str:
    docstring = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")
