from pathlib import Path

import pytest

from gateway.web.graphiql.build import build, can_build


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that does nothing and succeeds; PATH has no other program."""
    program = tmp_path / "npm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def test_the_page_is_built_with_npm(npm: Path) -> None:
    npm.write_text(f'#!/bin/sh\necho "$PWD: $*" >> {npm}.calls\n')
    assert can_build()
    assert build(retries=0) is None
    install, bundle = Path(f"{npm}.calls").read_text().splitlines()
    assert "gateway/web/graphiql: ci --no-audit --no-fund --prefer-offline --fetch-retries=0" in install
    assert bundle.endswith("gateway/web/graphiql: run build")


def test_without_npm_the_page_cannot_be_built(npm: Path) -> None:
    npm.unlink()
    assert not can_build()
    assert "No such file" in str(build())


def test_a_failure_is_reported_in_one_line(npm: Path) -> None:
    npm.write_text("#!/bin/sh\necho 'npm warn old' >&2\necho 'npm error code E404' >&2\necho more >&2\nexit 1\n")
    assert str(build()).endswith("failed: npm error code E404")
    npm.write_text("#!/bin/sh\nexit 1\n")
    assert str(build()).endswith("failed: npm printed no error")
