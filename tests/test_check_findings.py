"""What `check` finds wrong around the gateway: each is a finding of its own, with a hint, and no other line."""

import json
import os
import pty
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.check import Finding, Level, check
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from tests.harness import settings
from tests.http1.raw_server import Authority
from tests.programs import MODULE, Start, outcome

SECRET = {"cache_secret": "sixteen or more letters"}


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def finding(subject: str, **given: Any) -> Finding:
    """Return what is found about a subject; there is one finding."""
    (found,) = (each for each in check(settings(port=0, **given)) if each.subject == subject)
    return found


def test_a_refused_connection(closed_port: int) -> None:
    found = finding("upstream", upstream_url=f"http://127.0.0.1:{closed_port}", upstream_retries=0)
    assert found.level is Level.FAIL
    assert "The connection was refused." in found.text
    assert "the port in GATEWAY_UPSTREAM_URL" in found.hint


def test_an_unknown_host() -> None:
    found = finding("upstream", upstream_url="http://gochat.invalid", upstream_retries=0)
    assert found.level is Level.FAIL
    assert "The host is unknown." in found.text
    assert "the host in GATEWAY_UPSTREAM_URL" in found.hint


def test_tls_against_a_port_without_tls(upstream: str) -> None:
    found = finding("upstream", upstream_url=upstream.replace("http:", "https:"), upstream_retries=0)
    assert found.level is Level.FAIL
    assert "That port does not speak TLS." in found.text
    assert "`http://`" in found.hint


@pytest.mark.parametrize(
    ("certificate", "trusted", "text"),
    [
        ("server", True, "answered in"),
        ("server", False, "from an authority that is not trusted"),
        ("expired", True, "Its certificate has expired."),
    ],
)
def test_certificates(servers: ExitStack, authority: Authority, certificate: str, trusted: bool, text: str) -> None:
    config = sandbox_config(Sandbox().app)
    config.ssl_certfile = authority.folder / f"{certificate}.pem"
    url = servers.enter_context(BackgroundServer(config)).url.replace("http:", "https:")
    authorities = {"upstream_ca_file": authority.folder / "root.pem"} if trusted else {}
    found = finding("upstream", upstream_url=url, upstream_retries=0, **authorities)
    assert text in found.text
    assert (found.level is Level.OK) == (text == "answered in") == (found.hint == "")


def test_redis_that_is_down(upstream: str, closed_port: int) -> None:
    url = f"redis://:marked-password@127.0.0.1:{closed_port}/0"
    found = finding("redis", upstream_url=upstream, cache_url=url, **SECRET)
    assert found.level is Level.FAIL
    assert found.text == f"127.0.0.1:{closed_port}: The connection was refused."
    assert "GATEWAY_CACHE_URL" in found.hint


def test_redis_with_an_unknown_host(upstream: str) -> None:
    found = finding("redis", upstream_url=upstream, cache_url="redis://redis.invalid/0", **SECRET)
    assert (found.level, found.text) == (Level.FAIL, "redis.invalid:6379: The host is unknown.")


def test_a_port_in_use_is_a_warning(upstream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = settings(upstream_url=upstream, port=taken.getsockname()[1])
        (found,) = (each for each in check(given) if each.subject == "port")
    assert found.level is Level.WARN
    assert "is in use" in found.text


def test_an_address_of_another_machine_is_a_failure(upstream: str) -> None:
    found = finding("port", upstream_url=upstream, host="192.0.2.1")
    assert found.level is Level.FAIL


def test_json_is_for_programs(begin: Start, upstream: str, closed_port: int) -> None:
    redis = {"cache_url": f"redis://127.0.0.1:{closed_port}/0", **SECRET}
    good = begin("check", "--json", upstream_url=upstream, port="0", wrokers="2")
    bad = begin("check", "--json", upstream_url=upstream, port="0", **redis)
    wrong = begin("check", "--json", port="many")
    code, out, err = outcome(good)
    said = json.loads(out)
    assert (code, err, said["ok"]) == (0, "", True)
    assert {each["subject"]: each["level"] for each in said["findings"]}["upstream"] == "ok"
    assert [each["level"] for each in said["findings"] if each["subject"] == "settings"] == ["warn", "ok"]
    code, out, err = outcome(bad)
    said = json.loads(out)
    assert (code, err, said["ok"]) == (1, "", False)
    (failed,) = (each for each in said["findings"] if each["level"] == "fail")
    assert failed["subject"] == "redis"
    assert failed["hint"]
    code, out, err = outcome(wrong)
    assert (code, err) == (2, "")
    assert json.loads(out)["findings"][0]["text"].startswith("GATEWAY_PORT: ")


@pytest.mark.slow
@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_terminals(bytecode: dict[str, str], tmp_path: Path, closed_port: int, no_color: bool) -> None:
    reading, writing = pty.openpty()
    environment = {**os.environ, **bytecode, "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{closed_port}", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    process = subprocess.Popen([*MODULE, "check"], cwd=tmp_path, env=environment, stdout=writing)  # noqa: S603 - ours
    os.close(writing)
    text = ""
    with suppress(OSError):  # EIO: the program has ended
        while part := os.read(reading, 4096):
            text += part.decode()
    os.close(reading)
    assert process.wait() == 1
    assert ("\x1b[31mFAIL" in text) is not no_color
    assert ("\x1b[" in text) is not no_color
