"""Memory that processes share: an unnamed file, whose descriptor is passed to a process when that is started."""

import os
import tempfile
from multiprocessing import reduction
from typing import Any


class AnonymousFile:
    """A file of ``size`` zeros without a name; ``fd`` is its descriptor. It ends with the last process that has it."""

    def __init__(self, size: int) -> None:
        self.fd = _create()
        os.ftruncate(self.fd, size)

    def __getstate__(self) -> Any:
        """Pickle a duplicate of the descriptor, as multiprocessing does."""
        return reduction.DupFd(self.fd)

    def __setstate__(self, duplicate: Any) -> None:
        """Unpickle it."""
        self.fd = duplicate.detach()


def _create() -> int:
    """Return the descriptor of anonymous memory, or of an unnamed file where the system has no such memory."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gochat-gateway")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
