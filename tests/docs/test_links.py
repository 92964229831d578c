"""Every link of the documentation leads to a file or a heading that is there."""

import re

import pytest

from tests.docs.page import DOCS, PAGES, README, ROOT, Page


def dead_links(page: Page) -> list[str]:
    """Return the links to files or headings that are not there."""
    dead = []
    for link in page.links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page.name).parent / target if target else ROOT / page.name
        if not path.exists() or (anchor and anchor not in Page(str(path.resolve().relative_to(ROOT))).anchors):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    assert dead_links(page) == []


def test_a_link_is_called_what_it_leads_to() -> None:
    for page in PAGES:
        for text, link in re.findall(r"\[([\w/]+\.\w+)\]\(([^)\s]+)\)", page.prose):
            assert link.endswith(text), f"[{text}]({link})"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in README.links if "://" not in link}
    assert [page.name for page in DOCS if (ROOT / page.name).resolve() not in linked] == []


def test_no_heading_comes_twice_in_a_page() -> None:
    """Else a link would lead to the first."""
    for page in DOCS:
        titles = [each.title for each in page.sections]
        assert len(set(titles)) == len(titles), page.name


def test_code_names_pages_that_are_there() -> None:
    for path in [
        *(ROOT / "gateway").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "docker").rglob("*.y*ml"),
    ]:
        if "node_modules" not in path.parts:
            for name in re.findall(r"(?<![\w/])docs/[\w/-]+\.\w+", path.read_text(encoding="utf-8")):
                assert (ROOT / name).exists(), f"{path}: {name}"
