"""Starts the command line as forks of a process that has imported the gateway: importing takes most of a start's time.

A fork has its own session, directory, environment and output, and runs what ``python -m gateway`` runs. Where the start
itself is the matter, a test names the command, and gets a new interpreter.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
IMPORTED_LATER = ("gateway.check", "gateway.demo", "gateway.auth.jwt", "gateway.auth.gcra", "gateway.storage.redis")
"""What single commands and settings import."""

_MESSAGE_BYTES = 2**17  # arguments and environment


class Forked:
    """A forked command, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, report: socket.socket, stdout: IO[str], stderr: IO[str]) -> None:
        self._report = report
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self.pid = self._hear()

    def _hear(self) -> int:
        said = self._report.recv(64)
        assert said, "the process that waits for the program is gone"
        return int(said)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal. Raise TimeoutExpired if it does not end in time."""
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = self._hear()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("gateway", timeout or 0.0) from None
            self._report.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """The process that has imported the gateway."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this module
                (sys.executable, "-m", __name__, str(theirs.fileno())),
                cwd=ROOT,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a device that is no terminal is buffered as a pipe is
                start_new_session=True,
            )

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Forked:
        """Run ``python -m gateway`` with these arguments in a session of its own."""
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out, err = os.pipe(), os.pipe()
        order = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
        with theirs:
            socket.send_fds(self._control, [order], [theirs.fileno(), out[1], err[1]])
        os.close(out[1])
        os.close(err[1])
        return Forked(report, os.fdopen(out[0], encoding="utf-8"), os.fdopen(err[0], encoding="utf-8"))

    def stop(self) -> None:
        """End it. What it started goes on."""
        self._control.close()
        self._process.wait()


def _serve(control: socket.socket) -> None:
    """Fork for each order. Return in a process that is to become the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that wait
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
        if not order:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _become(json.loads(order), *descriptors)
            return
        for each in descriptors:
            os.close(each)


def _become(order: dict[str, Any], report: int, out: int, err: int) -> None:
    """Fork once more, so that one process can wait for the command and say how it ended. Return in the other."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.close(out)
        os.close(err)
        with suppress(BrokenPipeError):  # the tests are over
            os.write(report, str(pid).encode())
            os.write(report, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    os.close(report)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv[1:] = order["arguments"]
    sys.path[0] = order["cwd"]


if __name__ == "__main__":
    for module in ("gateway.cli", *IMPORTED_LATER):
        importlib.import_module(module)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
