"""A page of the documentation: its sections, blocks of code, commands, links and anchors."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file; ``name`` is its path in the repository."""

    name: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.name).read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCED.sub("", self.text)

    @property
    def sections(self) -> Iterator["Section"]:
        """What stands below each heading, up to the next; a ``#`` in a block of code is no heading."""
        hidden = _FENCED.sub(lambda block: "x" * len(block[0]), self.text)
        starts = [0, *(heading.start() for heading in _HEADING.finditer(hidden)), len(self.text)]
        for start, end in pairwise(starts):
            if start < end:
                text = self.text[start:end]
                yield Section(self.name, text.partition("\n")[0].lstrip("# "), text)

    @property
    def blocks(self) -> list[Block]:
        return blocks(self.text)

    def fenced(self, language: str) -> list[str]:
        return [each.text for each in self.blocks if each.language == language]

    def section(self, title: str) -> "Section":
        (section,) = (each for each in self.sections if each.title == title)
        return section

    @property
    def commands(self) -> list[list[str]]:
        """The words of every command line in a block ``sh``."""
        return [words for text in self.fenced("sh") for words in commands(text)]

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    @property
    def anchors(self) -> set[str]:
        """The anchors that a code host gives to the headings."""
        return {anchor(each.title) for each in self.sections}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    page: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.title}"

    @property
    def blocks(self) -> list[Block]:
        return blocks(self.text)


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks, without the indentation of a list."""
    return [Block(language, dedent(content)) for _, language, content in _FENCED.findall(text)]


def anchor(title: str) -> str:
    """Return the anchor of a heading: lower case, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def commands(text: str) -> list[list[str]]:
    """Return the words of each line; a line may end with a comment, or with a backslash and go on in the next."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def table(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in ``text``, without their headings."""
    lines = [line.strip("|") for line in text.splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [row for row in rows if row[0].startswith("`") or row[0].isdigit()]


def code_of(cell: str) -> str:
    """Return the text that a cell holds as code."""
    return cell.strip("` ")


README = Page("README.md")
CHANGELOG = Page("CHANGELOG.md")
DOCS = [Page(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [README, CHANGELOG, *DOCS, Page("tests/bench/README.md")]
