"""A Redis for tests: a process on a free port of 127.0.0.1 that can be stopped, killed and restarted."""

import signal
import subprocess
from types import TracebackType
from typing import Self

import redis

from tests.programs import free_port
from tests.requirements import require_program

PROGRAM = "redis-server"


class RedisServer:
    """Keeps nothing on disk, so it is empty after each start. A context manager; ``password`` is optional."""

    def __init__(self, password: str | None = None) -> None:
        require_program(PROGRAM)
        self._password = password
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Its address, with the password if it has one."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start, and return when it accepts connections; RuntimeError if it ends before."""
        # Redis logs to standard output, which is read up to the line that says it is ready.
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        options += ["--requirepass", self._password] if self._password else []
        self._process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            [PROGRAM, *options], stdout=subprocess.PIPE, text=True, cwd="/"
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return self
        raise RuntimeError(f"{PROGRAM} ended with {self._process.wait()}")

    def stop(self) -> None:
        """Stop gracefully: client connections are closed, and new ones refused."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop at once, without closing anything."""
        self._end(signal.SIGKILL)

    def flush(self) -> None:
        """Delete every entry."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def freeze(self) -> None:
        """Accept connections and answer nothing until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # a frozen process does not handle the other signal
        self._process.send_signal(how)
        self._process.communicate(timeout=5)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
