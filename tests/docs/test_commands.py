"""Every command in the documentation exists, with its options and its files."""

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from gateway.cli import app
from tests.docs.page import PAGES, README, ROOT

NOT_CHECKED = {
    "docker": "needs a Docker engine; tests/docker builds and runs the same files without one",
    "kubectl": "needs a cluster; tests/docker/test_kubernetes.py holds the manifests",
    "git": "changes the repository",
    "cp": "has a placeholder: a step of a release",
    "twine": "publishes: a step of a release",
    "curl": "is run by test_examples",
    "mutmut": "takes hours",
}
"""Commands that are not looked at here, each with its reason."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUP: Any = typer.main.get_command(app)


def inline_commands() -> Iterator[tuple[str, str]]:
    """Yield the commands that stand in a line of text."""
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for text in re.findall(r"`([^`\n]+)`", page.prose):
                if text.partition(" ")[0] in {*CHECKS, *NOT_CHECKED} and " " in text and "…" not in text:
                    yield page.name, text


def shown_commands() -> Iterator[tuple[str, str]]:
    yield from inline_commands()
    for page in PAGES:
        for words in page.commands:
            yield page.name, " ".join(words if "-d" in words else map(_quoted, words))


def _quoted(word: str) -> str:
    return word if word in {"&&", ">"} else shlex.quote(word)


def check(words: list[str]) -> None:
    """Fail unless the command and what it names are there."""
    if "&&" in words:
        at = words.index("&&")
        check(words[:at])
        check(words[at + 1 :])
        return
    words = words[: words.index(">")] if ">" in words else words
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[0] in NOT_CHECKED:
        return
    name = "python" if words[0].endswith(".py") else words[0]
    assert name in CHECKS, f"{name}: no test knows it, and NOT_CHECKED has no reason"
    CHECKS[name](words if words[0].endswith(".py") else words[1:])


def _uv(words: list[str]) -> None:
    if words == ["run"] or words[0] == "sync":
        return
    assert words[0] == "run", words
    words = words[1:]
    while words[0].startswith("--"):
        option = words.pop(0)
        if option in {"--group", "--with"}:
            value = words.pop(0)
            assert option == "--with" or value in PROJECT["dependency-groups"], value
        else:
            assert option in {"--no-dev", "--no-project", "--no-sync"}, option
    check(words)


def _gateway(words: list[str]) -> None:
    if words[0] == "--version":
        return
    command = GROUP
    for name in words:
        command = getattr(command, "commands", {}).get(name, command)
    assert command is not GROUP
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    assert _options(words) <= known


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        if words[1] == "build":
            return
        path = ROOT / words[1].replace(".", "/")
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        words = words[1:]
    else:
        path = ROOT / words[0]
    assert path.is_file(), path
    folder = path.parent if path.name == "__main__.py" else path
    sources = folder.rglob("*.py") if folder.is_dir() else [folder]
    text = "\n".join(each.read_text(encoding="utf-8") for each in sources)
    assert all(option in text for option in _options(words)), words


def _pytest(words: list[str]) -> None:
    paths = [word for before, word in zip(["", *words], words, strict=False) if "/" in word and before != "-k"]
    assert all((ROOT / each).exists() for each in paths), words


def _pip(words: list[str]) -> None:
    assert words[0] == "install"
    for extra in re.findall(r"\[(\w+)\]", words[1]):
        assert extra in PROJECT["project"]["optional-dependencies"]


def _npm(words: list[str]) -> None:
    at = words.index("--prefix")
    package = json.loads((ROOT / words[at + 1] / "package.json").read_text(encoding="utf-8"))
    rest = words[:at] + words[at + 2 :]
    assert rest[0] in {"ci", "run"}
    assert rest[0] == "ci" or rest[1] in package["scripts"]


def _bash(words: list[str]) -> None:
    assert (ROOT / words[0]).is_file()


def _tool(name: str) -> Callable[[list[str]], None]:
    def installed(_words: list[str]) -> None:
        assert shutil.which(name), f"{name} is not among the dependencies"

    return installed


def _options(words: list[str]) -> set[str]:
    """Return the options; one in brackets may be left out."""
    return {word.lstrip("[").partition("=")[0] for word in words if word.lstrip("[").startswith("--")}


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "bash": _bash,
    "gochat-gateway": _gateway,
    "lint-imports": _tool("lint-imports"),
    "mypy": _tool("mypy"),
    "npm": _npm,
    "pip": _pip,
    "pytest": _pytest,
    "python": _python,
    "ruff": _tool("ruff"),
    "uv": _uv,
}


@pytest.mark.parametrize(("_page", "line"), sorted(set(shown_commands())))
def test_a_command_exists_with_its_options_and_files(_page: str, line: str) -> None:
    check(shlex.split(line, posix="-d" not in line))


@pytest.mark.parametrize(
    "line",
    [
        "uv run gochat-gateway fly",
        "uv run gochat-gateway serve --wings",
        "uv run --group wings pytest",
        "uv run pytest tests/wings",
        "python -m tests.wings",
        "uv run python -m tests.soak --wings",
        "npm --prefix gateway/web/graphiql run wings",
        "pip install gochat-gateway[wings]",
        "wings --fly",
        "uv run pytest && uv run wings",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises((AssertionError, LookupError, FileNotFoundError)):
        check(shlex.split(line))


def test_the_newcomers_two_commands_are_in_the_readme() -> None:
    lines = [" ".join(words) for words in README.commands]
    assert {"pip install uv && uv run --no-dev gochat-gateway demo", "uv run pytest"} <= set(lines)


def test_every_reason_not_to_check_is_needed() -> None:
    shown = {line.split()[0] for _, line in shown_commands()} | {
        word for _, line in shown_commands() for word in line.split() if word in NOT_CHECKED
    }
    assert set(NOT_CHECKED) <= shown
