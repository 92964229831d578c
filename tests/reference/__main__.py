"""Writes the tables of docs/reference from the code: `uv run python -m tests.reference`."""

import logging

from tests.reference import pages

logging.disable()  # the metrics are those of a gateway that has failures
for path, text in pages.written().items():
    path.write_text(text, encoding="utf-8")
    print(path.relative_to(pages.ROOT))  # noqa: T201 - the names of the files are the output
