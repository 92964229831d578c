"""Changes a JSON body: sets or deletes values at dotted paths, to imitate drift from the contract."""

import enum
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec


class _Absent(enum.Enum):
    """Has the one member `ABSENT`. An enum member is compared by identity and is known to type checkers."""

    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""The value of a patch that deletes what is at the path. In JSON: `{"__absent__": true}`."""

_EVERY: Final = "*"
_ABSENT_JSON: Final = {"__absent__": True}


class PatchError(ValueError):
    """A path of a patch does not exist in the body."""


def value_from_json(value: object) -> object:
    """Read the value of a patch from its JSON form."""
    return ABSENT if value == _ABSENT_JSON else value


def value_to_json(value: object) -> object:
    """Write the value of a patch in its JSON form."""
    return dict(_ABSENT_JSON) if value is ABSENT else value


def patched(body: bytes, patch: Mapping[str, object]) -> bytes:
    """Apply every entry of `patch`, in order, to a JSON body.

    A path names keys and list positions: `last_message.attachments.0.id`. Its last key may be new. The position `*` is
    every item of a list; an item in which the rest of the path does not exist stays as it is.

    Raises `PatchError`: a path leads through a key or position that the body does not have.
    """
    decoded = msgspec.json.decode(body)
    for path, value in patch.items():
        _apply(decoded, path.split("."), value, path)
    return msgspec.json.encode(decoded)


def _apply(place: Any, steps: Sequence[str], value: object, path: str) -> None:
    step, *rest = steps
    if step == _EVERY and isinstance(place, list):
        for index in reversed(range(len(place))):
            with suppress(PatchError):
                _apply(place, [str(index), *rest], value, path)
    elif rest:
        _apply(_child(place, step, path), rest, value, path)
    else:
        _set(place, step, value, path)


def _child(place: Any, step: str, path: str) -> Any:
    try:
        return place[int(step)] if isinstance(place, list) else place[step]
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise PatchError(f"patch {path!r}: the body has nothing at {step!r}") from exc


def _set(place: Any, step: str, value: object, path: str) -> None:
    if isinstance(place, list):
        _child(place, step, path)
        _put(place, int(step), value)
    elif isinstance(place, dict):
        if value is ABSENT:
            _child(place, step, path)
        _put(place, step, value)
    else:
        raise PatchError(f"patch {path!r}: {step!r} is inside a {type(place).__name__}, not an object or a list")


def _put(place: Any, key: int | str, value: object) -> None:
    if value is ABSENT:
        del place[key]
    else:
        place[key] = value
