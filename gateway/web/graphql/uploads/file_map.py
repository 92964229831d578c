"""The part ``map``: which file goes where in ``operations``. A path is followed in JSON only, and by no other means."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadUserInput, BodyTooLarge
from gateway.storage.uploaded_file import UploadedFile

MAX_FILES = 10
_IS_INDEX = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
_FORM = '`map` is a JSON object: the name of each part with a file, and its path, as in {"0": ["variables.file"]}.'


@dataclass(frozen=True, slots=True)
class Place:
    """A null in ``operations`` that a file replaces."""

    variable: str
    _parent: Any
    _key: str | int

    def put(self, file: UploadedFile) -> None:
        """Replace it."""
        self._parent[self._key] = file


def read_map(text: bytes, operations: dict[str, Any]) -> dict[str, Place]:
    """Return the place of the file in each part, by the part's name; raise BadUserInput for a map that does not fit."""
    try:
        names = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as exc:
        raise BadUserInput(_FORM) from exc
    if not isinstance(names, dict):
        raise BadUserInput(_FORM)
    if len(names) > MAX_FILES:
        raise BodyTooLarge(f"A request has {MAX_FILES} files at most.")
    places = {name: _place(paths, operations) for name, paths in names.items()}
    taken = {(id(each._parent), each._key) for each in places.values()}  # noqa: SLF001 - its own class
    if len(taken) < len(places):
        raise BadUserInput("`map` names one path for two files.")
    return places


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise BadUserInput("`map` names a part twice.")
    return names


def _place(paths: Any, operations: dict[str, Any]) -> Place:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise BadUserInput(_FORM)
    if len(paths) != 1:
        raise BadUserInput("`map` gives each file one path: send a file that is needed twice as two parts.")
    steps = paths[0].split(".")
    if steps[0] != "variables" or len(steps) == 1:
        raise BadUserInput("A path in `map` begins with `variables.`, since files are values of variables.")
    parent: Any = operations
    for step in steps[:-1]:
        parent = parent[_key(parent, step)]
    key = _key(parent, steps[-1])
    if parent[key] is not None:
        raise BadUserInput("A path in `map` leads to a null in `operations`: here is another value.")
    return Place(steps[1], parent, key)


def _key(parent: Any, step: str) -> str | int:
    if isinstance(parent, dict) and step in parent:
        return step
    if isinstance(parent, list) and _IS_INDEX(step) and int(step) < len(parent):
        return int(step)
    raise BadUserInput("A path in `map` leads to nothing in `operations`.")
