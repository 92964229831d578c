"""Reads a manifest of trusted documents: those that the clients were built with.

It has one of three forms: Apollo's ``persisted-query-manifest``, Relay's JSON object from ids to documents, or a folder
of ``.graphql`` files, each of which is a complete document.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import GraphQLError, parse

from gateway.errors import ConfigurationError

_APOLLO = "apollo-persisted-query-manifest"
_SUFFIXES = {".graphql", ".gql"}


@dataclass(frozen=True, slots=True)
class TrustedDocument:
    """One document of a manifest; ``entry`` is its place in the manifest."""

    entry: str
    text: str
    id: str | None = None


class _Invalid(Exception):
    """A manifest, or an entry of it, is invalid."""


def read_manifest(path: Path) -> tuple[TrustedDocument, ...]:
    """Return the documents of the manifest at ``path``; raise ConfigurationError that names each invalid entry."""
    try:
        documents = tuple(_from_folder(path) if path.is_dir() else _from_file(path))
        problems = [problem for each in documents if (problem := _syntax_problem(each))] + _clashes(documents)
    except (_Invalid, OSError) as exc:
        problems = [exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)]
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])
    return documents


def _from_folder(folder: Path) -> Iterator[TrustedDocument]:
    paths = sorted(each for each in folder.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    if not paths:
        raise _Invalid("there is no .graphql file in this folder.")
    for path in paths:
        yield TrustedDocument(str(path.relative_to(folder)), _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _Invalid(f"{path.name} is not UTF-8.") from None


def _from_file(path: Path) -> Iterator[TrustedDocument]:
    try:
        manifest = json.loads(_text(path))
    except json.JSONDecodeError as exc:
        raise _Invalid(f"this is not JSON: {exc}.") from None
    except RecursionError:
        raise _Invalid("this is nested too deeply.") from None
    if not isinstance(manifest, dict):
        raise _Invalid("this must be a JSON object: a manifest of Apollo, or ids with their documents (Relay).")
    return _from_apollo(manifest) if "format" in manifest else _from_relay(manifest)


def _from_apollo(manifest: dict[str, Any]) -> Iterator[TrustedDocument]:
    if (manifest["format"], manifest.get("version")) != (_APOLLO, 1):
        raise _Invalid(f"`format` must be `{_APOLLO}`, and `version` 1.")
    operations = manifest.get("operations")
    if not isinstance(operations, list):
        raise _Invalid("`operations` must be a list.")
    for index, operation in enumerate(operations):
        entry = f"operations[{index}]"
        if not isinstance(operation, dict):
            raise _Invalid(f"{entry} must be an object.")
        for key in ("id", "body"):
            if not isinstance(operation.get(key), str):
                raise _Invalid(f"{entry} must have `{key}`, a string.")
        name = operation.get("name")
        yield TrustedDocument(f"{entry} ({name})" if name else entry, operation["body"], operation["id"])


def _from_relay(manifest: dict[str, Any]) -> Iterator[TrustedDocument]:
    for name, text in manifest.items():
        if not isinstance(text, str):
            raise _Invalid(f"{name} must have a document, as a string.")
        yield TrustedDocument(name, text, name)


def _syntax_problem(document: TrustedDocument) -> str | None:
    try:
        parse(document.text)
    except GraphQLError as exc:
        return f"{document.entry}: {exc.message}"
    return None


def _clashes(documents: tuple[TrustedDocument, ...]) -> list[str]:
    known: dict[str, TrustedDocument] = {}
    problems = []
    for each in documents:
        other = known.setdefault(each.id, each) if each.id is not None else each
        if other.text != each.text:
            problems.append(f"{each.entry} and {other.entry} have the same id, and are not the same.")
    return problems
