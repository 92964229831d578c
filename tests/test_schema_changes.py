"""A breaking change of the schema is found, and is announced in the changelog."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli import app
from gateway.errors import BadUserInput, ConfigurationError
from gateway.schema.changes import schema_changes

ROOT = Path(__file__).parent.parent
SDL = (ROOT / "schema.graphql").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

FILE_TYPE = '  """The kind of file. REST: `file_type`."""\n  fileType: String\n'


def announced(changelog: str) -> list[str]:
    """Return what the changelog calls breaking among the unreleased changes and removals."""
    (unreleased,) = re.findall(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    sections = re.findall(r"^### (?:Changed|Removed)\n(.*?)(?=^### |\Z)", unreleased, re.DOTALL | re.MULTILINE)
    return [entry for each in sections for entry in re.split(r"^- ", each, flags=re.MULTILINE) if "Breaking" in entry]


def test_the_version_has_its_section_in_the_changelog() -> None:
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", CHANGELOG, re.MULTILINE)
    assert releases[:1] == [__version__], "docs/contributing/releasing.md has the steps of a release"


def test_breaking_changes_since_the_last_release_are_announced_in_the_changelog() -> None:
    """Its schema is a copy, because a shallow clone has no tags."""
    released = ROOT / "tests" / "released" / f"{__version__}.graphql"
    breaking = schema_changes(released.read_text(encoding="utf-8"), SDL).breaking
    assert not breaking or announced(CHANGELOG), (
        "say so in CHANGELOG.md, under Unreleased, in a line with **Breaking:** below Changed or Removed:\n"
        + "\n".join(breaking)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((FILE_TYPE, ""), "Attachment.fileType was removed."),
        (("fileSize: BigInt", "fileSize: Int"), "Field Attachment.fileSize changed type from BigInt to Int."),
        (("id: ID!\n\n", "id: ID\n\n"), "from ID! to ID."),
        (("first: Int = null", "first: Int!"), "from Int to Int!."),
        (
            ('Customer @key(fields: "externalId", resolvable: true)', "Customer"),
            '@key(fields: "externalId") of Customer was removed: other subgraphs rely on it.',
        ),
        (
            ('@key(fields: "externalId", resolvable: true)', '@key(fields: "externalId", resolvable: false)'),
            'Resolving by @key(fields: "externalId") of Customer was removed: other subgraphs rely on it.',
        ),
        (("PageInfo @shareable", "PageInfo"), "@shareable of PageInfo was removed: other subgraphs rely on it."),
    ],
)
def test_a_breaking_change_is_found_and_described(change: tuple[str, str], says: str) -> None:
    old, new = change
    assert old in SDL
    breaking = schema_changes(SDL, SDL.replace(old, new)).breaking
    assert breaking
    assert any(line.endswith(says) for line in breaking), breaking


@pytest.mark.parametrize(
    "change",
    [
        (FILE_TYPE, f"{FILE_TYPE}  fileHash: String\n"),
        ("fileSize: BigInt", "fileSize: BigInt!"),
        ('"""The thread\'s tags. REST: `tags`."""', '"""Tags."""'),
        ('Message @key(fields: "id", resolvable: false)', 'Message @key(fields: "id")'),
    ],
)
def test_a_change_that_affects_no_client_is_not_breaking(change: tuple[str, str]) -> None:
    old, new = change
    assert old in SDL
    assert schema_changes(SDL, SDL.replace(old, new)).breaking == []


def test_another_default_is_dangerous() -> None:
    changes = schema_changes(SDL, SDL.replace("first: Int = null", "first: Int = 10"))
    assert (changes.breaking, len(changes.dangerous)) == ([], 1)


@pytest.mark.parametrize("text", ["", "type {", "{ thread }", "type Query { a: Nothing }"])
def test_an_invalid_schema_is_refused(text: str) -> None:
    with pytest.raises(BadUserInput):
        schema_changes(text, SDL)


def test_the_command_ends_with_1_for_a_breaking_change(tmp_path: Path) -> None:
    old = tmp_path / "old.graphql"
    old.write_text(SDL.replace("  id: ID!\n\n", "  id: ID!\n  gone: String\n\n").replace("Int = null", "Int = 10"))
    result = CliRunner().invoke(app, ["schema", "--diff", str(old)])
    assert result.exit_code == 1
    assert "breaking: Field Thread.gone was removed.\n" in result.stdout
    assert "dangerous: " in result.stdout


def test_the_command_ends_with_0_without_a_breaking_change(tmp_path: Path) -> None:
    old = tmp_path / "old.graphql"
    old.write_text(SDL.replace(FILE_TYPE, ""))
    result = CliRunner().invoke(app, ["schema", "--diff", str(old)])
    assert (result.exit_code, result.stdout) == (0, f"no breaking changes for clients of {old}\n")


def test_the_command_names_an_invalid_file(tmp_path: Path) -> None:
    old = tmp_path / "old.graphql"
    old.write_text("type {")
    result = CliRunner().invoke(app, ["schema", "--diff", str(old)])
    assert isinstance(result.exception, ConfigurationError), "which main() makes a line and exit status 2"
    assert str(old) in str(result.exception)


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ("### Changed\n\n- **Breaking:** `fileSize` is a string.\n", 1),
        ("### Removed\n\n- `a`\n- Breaking: `b`, which\n  nobody used.\n", 1),
        ("### Added\n\n- Breaking news.\n\n### Changed\n\n- Faster.\n", 0),
        ("### Added\n\n- a\n\n## [0.1.0]\n\n### Changed\n\n- **Breaking:** old news.\n", 0),
    ],
)
def test_only_an_unreleased_change_or_removal_announces(entries: str, count: int) -> None:
    assert len(announced(f"# Changelog\n\n## [Unreleased]\n\n{entries}")) == count
