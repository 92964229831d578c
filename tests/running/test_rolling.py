"""Rolling gateways and workers under load loses no request."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.harness import NO_CERTIFICATES, SERVICE
from tests.programs import Program, Start, free_port, serving, until, workers
from tests.running.load import Load
from tests.running.proxy import nginx

BODY = {"query": '{ thread(id: "th-1") { id } }'}
ANSWER = {"data": {"thread": {"id": "th-1"}}}
DELAY = "2.5"  # longer than nginx avoids a gateway that refused a connection: 1 s, rounded up to whole seconds


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", trust_env=False, verify=NO_CERTIFICATES, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def begin_at(begin: Start, port: int, **settings: str) -> Program:
    program = begin("serve", "--port", str(port), shutdown_delay=DELAY, log_level="info", **settings)
    until(lambda: is_ready(f"http://127.0.0.1:{port}"), "the gateway is ready")
    return program


def test_rolling_two_gateways_behind_nginx_loses_no_request(begin: Start, upstream: str, tmp_path: Path) -> None:
    settings = {**SERVICE, "upstream_url": upstream}
    ports = [free_port(), free_port()]
    programs = [begin_at(begin, port, **settings) for port in ports]
    with nginx(ports, tmp_path) as url:
        load = Load(url, BODY, ANSWER)
        with load.running(4):
            for index, port in enumerate(ports):
                load.wait_for(50)
                programs[index].process.terminate()
                assert programs[index].end() == 0
                load.wait_for(50)
                programs[index] = begin_at(begin, port, **settings)
            load.wait_for(50)
    assert set(load.outcomes) == {"answered"}, load.outcomes


def test_rolling_two_workers_by_sighup_loses_no_request(begin: Start, upstream: str) -> None:
    """Without a proxy, which would try again."""
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, workers="2", shutdown_delay="0.5")
    url = serving(program).removesuffix("/graphql")
    old = workers(program)
    load = Load(url, BODY, ANSWER)
    with load.running(4):
        load.wait_for(50)
        os.kill(program.process.pid, signal.SIGHUP)
        until(lambda: not old & workers(program) and len(workers(program)) == 2, "both workers are replaced")
        load.wait_for(50)
    assert set(load.outcomes) == {"answered"}, load.outcomes
    program.process.terminate()
    assert program.end() == 0


def test_a_worker_that_dies_is_replaced(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, workers="2", shutdown_delay="0")
    url = serving(program)
    victim = min(workers(program))
    os.kill(victim, signal.SIGKILL)
    program.err.until(rf"worker {victim} died")
    until(lambda: len(workers(program) - {victim}) == 2, "another worker replaces it")
    assert httpx.post(url, json=BODY, trust_env=False, timeout=30).json() == ANSWER
    program.process.terminate()
    assert program.end() == 0


_SUPERVISOR = """
import asyncio
from gateway.server.listeners import bind
from gateway.server.supervisor import Supervisor
from gateway.telemetry import configure_logging
configure_logging("info", "json")
with bind("127.0.0.1", 0) as listener:
    asyncio.run(Supervisor(listener, 2, 10.0, metrics=False, hung_seconds=6.0).run())
"""


def test_a_worker_that_hangs_is_replaced(begin: Start, upstream: str) -> None:
    command = (sys.executable, "-c", _SUPERVISOR)
    program = begin(command=command, **SERVICE, upstream_url=upstream, shutdown_delay="0")
    url = serving(program)
    victim = min(workers(program))
    os.kill(victim, signal.SIGSTOP)
    stopped = time.monotonic()
    program.err.until(rf"worker {victim} does not respond: it is replaced")
    assert time.monotonic() - stopped < 25  # by default it would be 30
    until(lambda: len(workers(program) - {victim}) == 2, "another worker replaces it")
    for _ in range(4):
        assert httpx.post(url, json=BODY, trust_env=False, timeout=30).json() == ANSWER
    program.process.terminate()
    assert program.end() == 0


def test_a_worker_that_cannot_start_ends_the_program_with_the_reason(
    begin: Start, upstream: str, tmp_path: Path
) -> None:
    """Its settings were valid when the program started. Restarting it in a loop would hide the error."""
    (tmp_path / ".env").write_text("GATEWAY_MAX_TOKENS=20000\n")
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, workers="2", shutdown_delay="0")
    serving(program)
    (tmp_path / ".env").write_text("GATEWAY_MAX_TOKENS=many\n")
    os.kill(min(workers(program)), signal.SIGKILL)
    assert program.end() == 2
    assert "a worker cannot start: GATEWAY_MAX_TOKENS: " in program.err.rest()


def test_a_sighup_with_wrong_settings_keeps_the_workers(begin: Start, upstream: str, tmp_path: Path) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, workers="2", shutdown_delay="0")
    url = serving(program)
    old = workers(program)
    (tmp_path / ".env").write_text("GATEWAY_MAX_TOKENS=many\n")
    os.kill(program.process.pid, signal.SIGHUP)
    program.err.until("a worker cannot start: GATEWAY_MAX_TOKENS: ")
    program.err.until("the old ones stay")
    assert httpx.post(url, json=BODY, trust_env=False, timeout=30).json() == ANSWER
    assert workers(program) == old
    program.process.terminate()
    assert program.end() == 0


def test_wrong_settings_are_reported_once_before_any_worker_starts(begin: Start, tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("no certificate")
    program = begin("serve", "--port", "0", workers="2", upstream_ca_file=str(authorities))
    assert program.end() == 2
    lines = program.err.rest().splitlines()
    assert [line for line in lines if "GATEWAY_UPSTREAM_CA_FILE" in line] == [lines[-1]]
    assert not any("Started server process" in json.loads(line)["message"] for line in lines[:-1])


def test_nginx_repeats_no_post_that_may_have_arrived(tmp_path: Path) -> None:
    """It may be a mutation. A GET is repeated, and so is a POST to a gateway that does not accept connections."""
    seen: list[str] = []

    class HangsUp(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.command)
            self.close_connection = True

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the parent's
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as one,
        ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as two,
        nginx([one.server_port, two.server_port], tmp_path) as url,
    ):
        for server in (one, two):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        assert httpx.post(f"{url}/graphql", json=BODY, trust_env=False, timeout=30).status_code == 502
        assert seen == ["POST"]
        one.shutdown()
        two.shutdown()
