"""The documentation is short, in plain English, and has a picture that loads quickly."""

import re

import pytest

from tests.docs.page import CHANGELOG, PAGES, README, ROOT, Page

MOST_README_LINES = 150
MOST_PAGE_LINES = 400
MOST_PICTURE_BYTES = 200_000
RIDDLES = re.compile(
    r"\b(let nobody|lets nobody|waits for nobody|nobody waits for|anew|is no more|let go of|let in|whoever|who comes"
    r"|what it can be made to do|who gets in|what it tells|is told|are told|by turns|way out|none of our)\b",
    re.IGNORECASE,
)
"""Phrases that a colleague would not say aloud."""


@pytest.mark.parametrize("page", [each for each in PAGES if each != CHANGELOG], ids=lambda page: page.name)
def test_a_page_is_in_plain_english(page: Page) -> None:
    assert RIDDLES.findall(page.prose) == []


def test_the_code_is_in_plain_english() -> None:
    found = {
        str(path.relative_to(ROOT)): riddles
        for path in (ROOT / "gateway").rglob("*.py")
        if "node_modules" not in path.parts and (riddles := RIDDLES.findall(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_readme_is_at_most_150_lines() -> None:
    assert len(README.text.splitlines()) <= MOST_README_LINES


def test_no_page_is_long() -> None:
    assert [page.name for page in PAGES if len(page.text.splitlines()) > MOST_PAGE_LINES] == []


def test_code_in_a_line_ends_in_that_line() -> None:
    """Else a command in it is not found by the tests, and reads badly."""
    for page in PAGES:
        if page != CHANGELOG:
            assert [line for line in page.prose.splitlines() if line.count("`") % 2] == [], page.name


def test_every_page_has_one_title_and_it_comes_first() -> None:
    for page in PAGES:
        text = re.sub(r"^<!--.*?-->\s*", "", page.text, flags=re.DOTALL)
        assert text.startswith("# "), page.name
        assert len(re.findall(r"^# ", page.prose, re.MULTILINE)) == 1, page.name


def test_the_picture_is_small() -> None:
    pictures = [*(ROOT / "docs" / "images").iterdir()]
    assert pictures
    assert [each.name for each in pictures if each.stat().st_size > MOST_PICTURE_BYTES] == []
