"""Writes the tables of docs/reference from the code: `uv run python -m tests.reference`."""

from tests.reference import pages

for path, text in pages.written().items():
    path.write_text(text, encoding="utf-8")
    print(path.relative_to(pages.ROOT))  # noqa: T201 - the names of the files are the output
