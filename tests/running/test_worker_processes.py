"""Several workers on one port: their load, their end, and what they need of the machine."""

import json
import os
import resource
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.docker import locked_down
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.programs import MODULE, Program, Start, is_open, serving, until, workers
from tests.telemetry.scrape import scrape

THREAD = {"query": '{ thread(id: "th-1") { id } }'}
ANSWER = {"data": {"thread": {"id": "th-1"}}}
CONNECTIONS = 32
LOST = (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.WriteError)


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url.removesuffix("/graphql"), trust_env=False, verify=NO_CERTIFICATES, timeout=30)


@pytest.fixture
def program(begin: Start, upstream: str) -> Program:
    return begin("serve", "--port", "0", "--workers", "2", **SERVICE, upstream_url=upstream, shutdown_delay="1")


def test_32_connections_are_shared_evenly(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", "--workers", "3", **SERVICE, upstream_url=upstream, metrics_port="0")
    metrics = program.err.until(r'"metrics on (http://[^"]+)"')[1]
    url = serving(program)
    with ExitStack() as stack:
        clients = [stack.enter_context(client(url)) for _ in range(CONNECTIONS)]
        for each in clients * 3:
            assert each.post("/graphql", json=THREAD).json() == ANSWER
    served: Counter[str] = Counter()
    for sample in scrape(metrics).samples:
        if sample.name == "gochat_gateway_operations_total":
            served[sample.labels["worker"]] += int(sample.value)
    assert served.total() == CONNECTIONS * 3
    assert len(served) == 3
    assert max(served.values()) < 2 * min(served.values()), served


def test_after_sigterm_a_new_connection_is_served_or_refused(program: Program) -> None:
    """It is never accepted and left without a response."""
    url = serving(program)
    outcomes: Counter[str] = Counter()
    over = False

    def ask() -> None:
        while not over:
            with client(url) as each:
                try:
                    outcomes[str(each.get("/health").status_code)] += 1
                except httpx.ConnectError:
                    outcomes["refused"] += 1
                except LOST as exc:
                    outcomes[type(exc).__name__] += 1

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        until(lambda: outcomes["200"] > 20, "connections are served")
        os.kill(program.process.pid, signal.SIGTERM)
        until(lambda: outcomes["refused"] > 20, "connections are refused")
        over = True
    assert [each.exception() for each in asking] == [None] * 4
    assert set(outcomes) == {"200", "refused"}, outcomes
    assert program.end() == 0


def test_what_is_under_way_at_sigterm_is_answered_by_every_worker(program: Program, sandbox: Sandbox) -> None:
    url = serving(program)
    sandbox.faults.add(Fault("thread", hold="slow", times=4))
    with ExitStack() as stack:
        clients = [stack.enter_context(client(url)) for _ in range(4)]
        pool = stack.enter_context(ThreadPoolExecutor(4))
        # Each with its own thread, as identical calls of a worker are one call.
        asked = [{"query": f'{{ thread(id: "th-{number}") {{ id }} }}'} for number in range(1, 5)]
        waiting = [pool.submit(each.post, "/graphql", json=body) for each, body in zip(clients, asked, strict=True)]
        sandbox.wait_for_calls(4, route="thread")
        os.kill(program.process.pid, signal.SIGTERM)
        until(lambda: not is_open(url), "the port is closed")
        sandbox.release("slow")
        assert {each.result().status_code for each in waiting} == {200}
    assert program.end() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_the_workers_of_a_supervisor_that_dies_end(program: Program, number: signal.Signals) -> None:
    url = serving(program)
    left = workers(program)
    assert len(left) == 2
    os.kill(program.process.pid, number)
    program.end()
    until(lambda: not any(is_running(each) for each in left), "the workers end")
    assert not is_open(url)
    assert "the supervisor has died" in program.err.rest()


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended before the file was opened, or before it was read
        return False


def test_ctrl_c_stops_the_workers_without_a_traceback(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", "--workers", "2", **SERVICE, upstream_url=upstream, shutdown_delay="3600")
    serving(program)
    program.interrupt(signal.SIGINT)
    assert program.end() == 0
    assert all(isinstance(json.loads(line), dict) for line in program.err.rest().splitlines())


def test_ctrl_c_during_the_start_stops_it_without_a_traceback(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", "--workers", "2", **SERVICE, upstream_url=upstream)
    program.err.until("starts 2 workers")
    until(lambda: len(workers(program)) == 2, "both processes are there")
    program.interrupt(signal.SIGINT)
    assert program.end() == 0
    assert "Traceback" not in program.err.rest()


def test_workers_and_metrics_start_where_nothing_can_be_written(begin: Start, upstream: str) -> None:
    """As in the manifests, where the file system is read-only."""
    if not locked_down.is_possible():
        pytest.skip("for want of root and namespaces (unshare)")
    script = f"""
        for each in / /tmp /dev/shm; do mountpoint -q $each && mount -o remount,bind,ro $each; done
        touch /tmp/written /dev/shm/written && exit 1
        exec {" ".join(MODULE)} serve --port 0 --workers 2
    """
    program = begin(
        command=("unshare", "--mount", "sh", "-c", script),
        **SERVICE,
        upstream_url=upstream,
        metrics_port="0",
        shutdown_delay="0",
    )
    metrics = program.err.until(r'"metrics on (http://[^"]+)"')[1]
    url = serving(program)
    with client(url) as http:
        assert http.post("/graphql", json=THREAD).json() == ANSWER
    assert scrape(metrics).value("operations_total", code="OK") == 1
    program.interrupt(signal.SIGTERM)
    assert program.end() == 0


@pytest.mark.parametrize("number", ["1", "2"])
def test_connections_wait_where_no_descriptor_is_left(begin: Start, upstream: str, number: str) -> None:
    """They are served when others have ended, and the log says why they waited."""
    program = begin("serve", "--port", "0", "--workers", number, **SERVICE, upstream_url=upstream, shutdown_delay="0")
    url = serving(program)
    address = urlsplit(url)
    processes = workers(program) if number == "2" else {program.process.pid}
    with client(url) as http:
        assert http.get("/health").status_code == 200
    for each in processes:
        used = len(list(Path(f"/proc/{each}/fd").iterdir()))
        resource.prlimit(each, resource.RLIMIT_NOFILE, (used + 3, used + 3))
    with ThreadPoolExecutor(1) as pool, client(url) as late:
        with ExitStack() as stack:
            for _ in range(16):
                stack.enter_context(socket.create_connection((address.hostname, address.port), 30))
            program.err.until("out of file descriptors: new connections wait")
            answer = pool.submit(late.get, "/health")
        assert answer.result().status_code == 200
    program.interrupt(signal.SIGTERM)
    assert program.end() == 0
