"""Several worker processes on one port: starts them, gives each connection to the next one, and replaces them.

The supervisor accepts every connection itself (see `handover`). While it stops, the workers are in the rotation until
they say that they leave; with the last of them it closes the port. So a new connection is served or refused, and never
left without a response.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from gateway.compat.uvicorn import CANNOT_START
from gateway.errors import ConfigurationError
from gateway.events.workers import WorkersRing
from gateway.server.accepting import Acceptor
from gateway.server.handover import LEAVING, READY, hand_over
from gateway.server.signals import STOP_SIGNALS
from gateway.server.worker import WorkerEnds, run_worker
from gateway.telemetry import logger
from gateway.upstream.credentials.worker_lock import WorkersMemory

START_SECONDS = 60.0
"""The longest that a worker which replaces another may take to start. A busy machine may need twenty."""

HUNG_SECONDS = 30.0
"""A worker whose event loop has not run for so long is replaced."""

_RESTART_PAUSE_SECONDS = 1.0  # after a worker that died before it was ready
_WATCH_SECONDS = 1.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process, and the supervisor's ends of its sockets."""

    number: int
    process: multiprocessing.process.BaseProcess
    channel: socket.socket
    metrics: socket.socket | None
    is_replacement: bool
    alive_at: float = 0.0
    is_leaving: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.process.pid is not None and not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


class Supervisor:
    """Runs ``number`` workers until a signal stops them.

    ``stop_seconds``: the longest that one may take to end. ``hung_seconds``: how long its event loop may not run.
    """

    def __init__(
        self,
        listener: socket.socket,
        number: int,
        stop_seconds: float,
        *,
        metrics: bool,
        hung_seconds: float = HUNG_SECONDS,
    ) -> None:
        self._acceptor = Acceptor(listener)
        self._number = number
        self._stop_seconds = stop_seconds
        self._hung_seconds = hung_seconds
        self._with_metrics = metrics
        self._memory = WorkersMemory()
        self._ring = WorkersRing()
        self._workers: list[Worker] = []
        self._rotation: deque[Worker] = deque()
        self._is_accepting = False
        self._is_stopping = False
        self._cannot_start = False
        self._ended = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None

    @property
    def metrics_sockets(self) -> dict[int, socket.socket]:
        """The sockets by which each worker that serves can be asked for its metrics, by the worker's number."""
        return {each.number: each.metrics for each in self._workers.copy() if each.metrics and each.ready.is_set()}

    async def run(self) -> bool:
        """Return whether the workers could start, once all have ended."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._roll)
        logger.info("supervisor %d starts %d workers", os.getpid(), self._number)
        for _ in range(self._number):
            self._start()
        watch = asyncio.create_task(self._watch())
        await self._ended.wait()
        watch.cancel()
        return not self._cannot_start

    def _start(self, *, is_replacement: bool = False) -> Worker:
        ours, theirs = socket.socketpair()
        metrics = socket.socketpair() if self._with_metrics else (None, None)
        ends = WorkerEnds(theirs, metrics[1], self._memory, self._ring)
        process = _SPAWN.Process(target=run_worker, args=(ends,), daemon=True)
        _start_with_signals_blocked(process)
        for each in (theirs, metrics[1]):
            if each is not None:
                each.close()
        taken = {each.number for each in self._workers}
        number = next(each for each in count() if each not in taken)
        worker = Worker(number, process, ours, metrics[0], is_replacement)
        self._workers.append(worker)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._hear, worker)
        loop.add_reader(process.sentinel, self._end, worker)
        return worker

    def _hear(self, worker: Worker) -> None:
        """Read what a worker says."""
        try:
            said = worker.channel.recv(1024)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(worker.channel)
        worker.alive_at = asyncio.get_running_loop().time()
        if READY in said and not self._is_stopping:
            worker.ready.set()
            self._rotation.append(worker)
            self._accept_if_ready()
        if LEAVING in said:
            self._let_leave(worker)

    def _accept_if_ready(self) -> None:
        if self._is_accepting or len(self._rotation) < self._number:
            return
        try:
            self._acceptor.start(self._dispatch)
        except ConfigurationError as exc:
            for problem in exc.problems:
                logger.error("%s", problem)
            self._cannot_start = True
            self._stop(signal.SIGTERM)
        else:
            self._is_accepting = True

    def _dispatch(self, connection: socket.socket) -> bool:
        """Give the connection to the next worker that takes it, and return whether there is one."""
        for _ in range(len(self._rotation)):
            worker = self._rotation[0]
            self._rotation.rotate(-1)
            if hand_over(connection, worker.channel):
                return True
        return False

    def _let_leave(self, worker: Worker) -> None:
        """Send a worker no more connections. Without workers that stay, the port is closed first."""
        worker.is_leaving = True
        if self._is_stopping and list(self._rotation) == [worker]:
            self._close_port()
        if worker in self._rotation:
            self._rotation.remove(worker)
        with suppress(OSError):
            worker.channel.shutdown(socket.SHUT_WR)

    def _close_port(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._acceptor.finish()

    def _end(self, worker: Worker) -> None:
        """Notice that a process has ended, and replace it unless that was to be."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.process.sentinel)
        loop.remove_reader(worker.channel)
        worker.process.join()
        self._workers.remove(worker)
        if worker in self._rotation:
            self._rotation.remove(worker)
        for each in (worker.channel, worker.metrics):
            if each is not None:
                each.close()
        worker.ended.set()
        if self._is_stopping:
            self._end_if_last()
        elif worker.process.exitcode == CANNOT_START and not worker.is_replacement:
            logger.error("worker %d cannot start: the program ends", worker.process.pid)
            self._cannot_start = True
            self._stop(signal.SIGTERM)
        elif len(self._workers) < self._number:
            logger.error("worker %d died (exit status %s)", worker.process.pid, worker.process.exitcode)
            loop.call_later(0.0 if worker.ready.is_set() else _RESTART_PAUSE_SECONDS, self._restart)

    def _restart(self) -> None:
        if not self._is_stopping and len(self._workers) < self._number:
            self._start()

    def _stop(self, number: int) -> None:
        """Let the workers stop. A second signal is passed on as it is: Ctrl-C ends the delay that SIGTERM has begun.

        Ctrl-C in a terminal reaches the workers by itself, and twice would mean to them: at once.
        """
        number = number if self._is_stopping else signal.SIGTERM
        self._is_stopping = True
        if self._rolling is not None:
            self._rolling.cancel()
        if not self._rotation:
            self._close_port()
        for worker in self._workers.copy():
            self._terminate(worker, number)
        self._end_if_last()

    def _end_if_last(self) -> None:
        if not self._workers:
            self._close_port()
            self._ended.set()

    def _terminate(self, worker: Worker, number: int = signal.SIGTERM) -> None:
        worker.signal(number)
        asyncio.get_running_loop().call_later(self._stop_seconds, worker.signal, signal.SIGKILL)

    def _roll(self) -> None:
        if not self._is_stopping and (self._rolling is None or self._rolling.done()):
            logger.info("SIGHUP: replacing the workers")
            self._rolling = asyncio.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        """Replace one worker after another, each by one that already serves."""
        for old in self._workers.copy():
            new = self._start(is_replacement=True)
            if not await _happens(new.ready, unless=new.ended, within=START_SECONDS):
                new.signal(signal.SIGKILL)
                logger.error("a new worker did not start: the old ones stay")
                return
            new.is_replacement = False
            if old in self._rotation:
                self._rotation.remove(old)
            self._terminate(old)
            await old.ended.wait()

    async def _watch(self) -> None:
        """End workers whose event loop hangs; `_end` replaces them."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for worker in self._workers:
                if worker in self._rotation and loop.time() - worker.alive_at > self._hung_seconds:
                    logger.error("worker %d does not respond: it is replaced", worker.process.pid)
                    worker.signal(signal.SIGKILL)


def _start_with_signals_blocked(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process that gets no signal until it can handle one: Ctrl-C reaches the whole process group."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _happens(event: asyncio.Event, *, unless: asyncio.Event, within: float) -> bool:
    waits = [asyncio.create_task(each.wait()) for each in (event, unless)]
    await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
    return event.is_set() and not unless.is_set()
