"""Every exception of the gateway is an ordinary one: it keeps its type on its way to the handler."""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import gateway

_NEEDS_HATCHLING = "gateway.web.graphiql.hatch_hook"
_STARTS_THE_PROGRAM = ("gateway.__main__", "gateway.sandbox.__main__")


def _exceptions() -> Iterator[type[BaseException]]:
    """Yield each exception class that a module of the gateway defines."""
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if module.name != _NEEDS_HATCHLING and module.name not in _STARTS_THE_PROGRAM:
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, type) and issubclass(each, BaseException) and each.__module__ == module.name:
                    yield each


@pytest.mark.parametrize("kind", sorted(_exceptions(), key=str), ids=lambda kind: str(kind.__qualname__))
def test_an_exception_passes_a_context_manager_unchanged(kind: type[BaseException]) -> None:
    """Contextlib sets ``__traceback__``, which a frozen dataclass refuses: its own exception would take the place."""

    @contextmanager
    def step() -> Iterator[None]:
        yield

    with pytest.raises(kind), step():
        raise kind.__new__(kind)
