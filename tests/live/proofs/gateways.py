"""Gateways as processes, for proofs: how they start, and what memory their workers take."""

import base64
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from gateway.sandbox import PASSWORD
from tests.harness import NO_CERTIFICATES
from tests.programs import Program, Start, workers

SECRET = "Bearer of the webhook"
START_SECONDS = 120


@contextmanager
def gateway(begin: Start, chosen: dict[str, str]) -> Iterator[Program]:
    """Start a gateway with these settings, with a webhook, and kill it in the end."""
    own = {"webhook_authorization": SECRET, "log_level": "info", **chosen}
    program = begin("serve", "--port", "0", **own)
    try:
        yield program
    finally:
        program.kill()


def url_of(program: Program) -> str:
    """Return the address of a gateway once it responds. Several start at once, which can take long."""
    deadline = time.monotonic() + START_SECONDS
    url = program.err.until(r'"listening on (http://[^"]+)/graphql"')[1]
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=5, verify=NO_CERTIFICATES).status_code == 200:
                return url
        threading.Event().wait(0.05)
    raise TimeoutError("a gateway does not start")


def memory(program: Program) -> float:
    """Return the resident memory of its workers in MiB; of the only process where it has no workers."""
    return sum(_resident(pid) for pid in workers(program) or {program.process.pid})


def processor_time(program: Program) -> float:
    """Return the seconds of processor time that its only process has used."""
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def webhook_body(thread: str, number: object) -> dict[str, object]:
    """Return the webhook that says that a thread has changed; ``number`` tells it from others."""
    date = "2023-07-03T11:59:46Z"
    known = {"event_id": str(number), "event_code": "thread_updated", "event_date": date, "event_source": "web"}
    return {**known, "data": {"thread_id": thread}}


def basic(user: str) -> str:
    """Return the header with which a user of the sandbox sends its password."""
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
