"""What a plan does with a long list of a large document: its items are decoded, built and encoded, a few at a time."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec

from gateway.schema.resolvers.cooperative import TURN_BYTES


def in_turns(
    items: Sequence[msgspec.Raw] | None,
    decoder: msgspec.json.Decoder[Any],
    build: Callable[[Any], Any],
    wait: Sequence[object],
) -> Generator[None, None, list[Any]]:
    """Return what ``build`` makes of each item; stop now and then.

    An item is encoded at once, unless ``wait`` has grown: then a REST call has yet to fill something in.
    """
    built: list[Any] = []
    taken = 0
    for item in items or ():
        waiting = len(wait)
        value = build(decoder.decode(item))
        built.append(value if len(wait) > waiting else msgspec.Raw(msgspec.json.encode(value)))
        taken += len(memoryview(item))
        if taken >= TURN_BYTES:
            taken = 0
            yield
    return built
