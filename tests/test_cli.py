"""The command line, run as processes in another directory."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import __version__
from gateway.demo import SANDBOX_PATH
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.schema import build_schema
from tests.auth.issuer import Issuer
from tests.harness import SERVICE, Clock
from tests.programs import MODULE, TIMEOUT_SECONDS, Program, Start, is_open, outcome, serving

THREAD = '{ thread(id: "th-1") { id } }'
WRONG = "wrong-password-that-nobody-may-see"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def ask(url: str, **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(url, json={"query": THREAD}, headers=headers, trust_env=False).json()
    return answer


def show_and_run_example(program: Program) -> tuple[str, str]:
    """Do what the demo's output says; return the two URLs."""
    sandbox_url = program.out.until(r"in front of a sandbox .*\((http://127\.0\.0\.1:\d+)\)")[1]
    graphql_url = program.out.until(r"GraphiQL +(http://127\.0\.0\.1:\d+/graphql)$")[1]
    example = shlex.split(program.out.until("^  curl .*$")[0])
    program.out.until("^Its response:$")
    printed = program.out.until("^{$")[0] + "".join(iter(lambda: program.out.until("^.*$")[0], "}")) + "}"
    if shutil.which("curl"):
        done = subprocess.run(example, capture_output=True, check=True, timeout=TIMEOUT_SECONDS)  # noqa: S603 - the demo's
        answered = done.stdout
    else:
        answered = httpx.post(graphql_url, json=json.loads(example[-1]), trust_env=False).content
    assert json.loads(printed) == json.loads(answered)
    assert json.loads(answered)["data"]["thread"]["lastMessage"]["attachments"]
    mutation = 'mutation { updateThread(input: {id: "th-2", tagCodes: ["a"]}) { outcome } }'
    changed = httpx.post(graphql_url, json={"query": mutation}, trust_env=False).json()
    assert changed == {"data": {"updateThread": {"outcome": "APPLIED"}}}, "the demo lets mutations run"
    page = httpx.get(graphql_url, headers={"accept": "text/html"}, trust_env=False)
    assert "graphiql" in page.text.lower()
    program.out.until("Ctrl-C stops both")
    return graphql_url, sandbox_url


def test_the_demo_prints_a_working_example_and_stops_on_ctrl_c(begin: Start) -> None:
    """It reaches only the sandbox, whatever the environment says."""
    elsewhere = {"upstream_url": "http://127.0.0.1:1", "upstream_identity": "passthrough"}
    elsewhere["shutdown_delay"] = "3600"  # which Ctrl-C ends
    program = begin("demo", "--no-build", "--port", "0", **elsewhere, jwt_issuer="i", field_scopes="true")
    addresses = show_and_run_example(program)
    program.interrupt(signal.SIGINT)
    program.out.until("Stopped.")
    assert program.interrupt_until_it_ends(signal.SIGINT) == 0, "`uv run` passes the signal on again, at any time"
    assert [is_open(url) for url in addresses] == [False, False]
    assert program.err.rest() == ""


def test_a_change_in_the_demos_sandbox_reaches_a_subscriber_by_its_webhook(begin: Start) -> None:
    program = begin("demo", "--no-build", "--port", "0")
    graphql_url = program.out.until(r"GraphiQL +(http://127\.0\.0\.1:\d+/graphql)$")[1]
    sandbox = graphql_url.removesuffix("/graphql") + SANDBOX_PATH
    body = {"query": 'subscription { threadUpdated(id: "th-1") { status } }'}
    with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        assert client.post(sandbox, content='{"change": true}').status_code == 403, (
            "a page of another site could send it"
        )
        with client.stream("POST", graphql_url, json=body, headers={"accept": "text/event-stream"}) as response:
            lines = (line for line in response.iter_lines() if '"status"' in line)
            assert '"Open"' in next(lines)
            for status in ("Waiting", "Closed", "Open"):
                assert httpx.post(sandbox, json={"change": True}, trust_env=False).status_code == 200
                assert f'"{status}"' in next(lines)
    program.interrupt(signal.SIGINT)
    program.out.until("Stopped.")
    program.end()
    assert program.err.rest() == ""


def test_a_taken_port_is_one_line_that_names_the_option_to_change_it(begin: Start, taken_port: int) -> None:
    port = str(taken_port)
    cases = {
        "--port;": begin("demo", "--no-build", "--port", port),
        "--sandbox-port;": begin("demo", "--no-build", "--port", "0", "--sandbox-port", port),
        "--port or GATEWAY_PORT;": begin("serve", port=port),
    }
    for option, program in cases.items():
        code, out, err = outcome(program)
        assert (code, out) == (2, "")
        assert re.fullmatch(
            rf"gochat-gateway: Cannot listen on port {port} of 127\.0\.0\.1: .*{option} 0 picks .*\n", err
        ), err


def test_the_schema_is_printed_and_compared(begin: Start, tmp_path: Path) -> None:
    current = build_schema().as_str() + "\n"
    (tmp_path / "good.graphql").write_text(current, encoding="utf-8")
    (tmp_path / "stale.graphql").write_text(current.replace("clientId: Int\n", "clientId: String\n"), encoding="utf-8")
    printed, good, stale, missing = (
        begin("schema"),
        *(begin("schema", "--check", f"{name}.graphql") for name in ("good", "stale", "missing")),
    )
    assert outcome(printed) == (0, current, "")
    assert outcome(good) == (0, "good.graphql is up to date\n", "")
    code, diff, advice = outcome(stale)
    assert code == 1
    assert "\n-  clientId: String\n+  clientId: Int\n" in diff
    assert "gochat-gateway schema > stale.graphql" in advice
    code, _, problem = outcome(missing)
    assert code == 2
    assert "missing.graphql" in problem


def test_check_succeeds_with_settings_that_work(begin: Start, upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The settings come from the environment and from the file. A misspelt one is reported."""
    (tmp_path / ".env").write_text(f"GATEWAY_UPSTREAM_URL={upstream}\nGATEWAY_INBOUND_AUHT=none\n")
    passthrough, service = begin("check"), begin("check", **SERVICE)
    code, out, err = outcome(passthrough)
    assert (code, err) == (0, "")
    note, *others = out.splitlines()
    assert note.startswith("WARN  settings: GATEWAY_INBOUND_AUHT is not a setting")
    assert "did you mean GATEWAY_INBOUND_AUTH?" in note
    assert others[-1] == "ok    credentials: callers send their own (passthrough)"
    code, out, err = outcome(service)
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()[1:]] == [
        "ok    settings",
        "WARN  port" if "in use" in out else "ok    port",
        "ok    upstream",
        "ok    credentials",
    ]
    assert PASSWORD not in out
    assert sandbox.count("token") == 1


def test_check_tries_a_wrong_password_exactly_once(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    wrong = {**SERVICE, "upstream_url": upstream, "upstream_password": WRONG}
    programs = {auth: begin("check", upstream_auth=auth, **wrong) for auth in ("token", "basic")}
    for auth, program in programs.items():
        code, out, err = outcome(program)
        assert code == 1
        (line,) = (each for each in out.splitlines() if each.startswith("FAIL"))
        assert line.startswith(f"FAIL  credentials: {USERNAME} ({auth}) was rejected")
        assert "GATEWAY_UPSTREAM_PASSWORD" in line
        assert WRONG not in out + err
    assert sandbox.count("token") == 1
    assert sandbox.accounts.wrong_logins() == len(programs)


def test_check_reports_an_unreachable_upstream_and_missing_settings(
    begin: Start, upstream: str, sandbox: Sandbox, taken_port: int
) -> None:
    sandbox.faults.add(Fault("thread", body="<html>", content_type="text/html"))
    service = {name: value for name, value in SERVICE.items() if name != "inbound_auth"}
    closed, other, unset = (
        begin("check", upstream_url="http://127.0.0.1:1", **service),
        begin("check", upstream_url=upstream, **SERVICE),
        begin("check", upstream_identity="service", port=str(taken_port)),
    )
    code, out, _ = outcome(closed)
    assert code == 2
    assert "FAIL  settings: GATEWAY_INBOUND_AUTH is not set" in out
    assert "FAIL  upstream: http://127.0.0.1:1/: The REST API cannot be reached." in out
    assert "credentials" not in out.splitlines()[-1], "credentials are not tried when the upstream is unreachable"
    code, out, _ = outcome(other)
    assert code == 1
    assert "FAIL  upstream: " in out
    assert sandbox.count("token") == 0
    code, out, err = outcome(unset)
    assert (code, err) == (2, "")
    assert "FAIL  settings: GATEWAY_UPSTREAM_USERNAME and GATEWAY_UPSTREAM_PASSWORD must be set" in out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limit", "abc"),
        ("trusted_proxies", "0.0.0.0/0"),
        ("upstream_ca_file", "keys.txt"),
        ("trusted_documents", "keys.txt"),
        ("field_scopes", "true"),
    ],
)
def test_check_fails_where_serve_does_not_start(
    begin: Start, upstream: str, tmp_path: Path, name: str, value: str
) -> None:
    (tmp_path / "keys.txt").write_text("{")
    given = {**SERVICE, "upstream_url": upstream, name: value}
    checked, served = begin("check", **given), begin("serve", port="0", **given)
    code, _, err = outcome(served)
    assert code == 2
    problems = [line.removeprefix("gochat-gateway: ") for line in err.splitlines() if line.startswith("gochat-")]
    code, out, err = outcome(checked)
    assert (code, err) == (2, "")
    assert [line for line in out.splitlines() if line.startswith("FAIL")] == [
        f"FAIL  settings: {problem}" for problem in problems
    ]


def test_a_manifest_without_documents_is_reported(begin: Start, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("{}")
    assert outcome(begin("documents", "empty.json")) == (1, "", "empty.json holds no documents\n")


def test_serve_passes_on_the_callers_credentials(begin: Start, upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The environment overrides the file, and options override both."""
    (tmp_path / ".env").write_text(f"GATEWAY_UPSTREAM_URL={upstream}\nGATEWAY_PORT=1\nGATEWAY_HOST=192.0.2.1\n")
    program = begin("serve", "--port", "0", host="127.0.0.1", wrokers="2", shutdown_delay="0")
    assert "did you mean GATEWAY_WORKERS?" in program.err.until("is not a setting").string
    url = serving(program)
    (error,) = ask(url)["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert sandbox.count() == 0
    basic = httpx.BasicAuth(USERNAME, PASSWORD)
    headers = next(basic.auth_flow(httpx.Request("GET", url))).headers
    assert ask(url, authorization=headers["authorization"]) == {"data": {"thread": {"id": "th-1"}}}
    program.interrupt(signal.SIGTERM)
    assert program.end() == 0
    assert not is_open(url)
    log = program.err.rest()
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())
    assert "Application shutdown complete." in log


def test_serve_uses_the_gateways_account(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    settings = {**SERVICE, "upstream_url": upstream, "workers": "3", "shutdown_delay": "0"}
    settings["webhook_authorization"] = "secret"
    programs = {
        begin("serve", "--port", "0", "--workers", str(workers), **settings): (workers, number)
        for workers, number in ((1, signal.SIGINT), (2, signal.SIGTERM))
    }
    for program, (workers, number) in programs.items():
        assert "every caller reads with the gateway's own account" in program.err.until('"warning"').string
        assert "a webhook reaches only the gateway that gets it" in program.err.until('"warning"').string
        url = serving(program)
        assert ask(url, authorization="Bearer unknown") == {"data": {"thread": {"id": "th-1"}}}
        assert sandbox.calls[-1].username == USERNAME
        program.interrupt(number)
        assert program.end() == 0
        assert not is_open(url)
        assert program.err.rest().count("Started server process") <= workers


def test_serve_rejects_wrong_settings_by_name_without_their_values(begin: Start) -> None:
    incomplete = {name: value for name, value in SERVICE.items() if name != "inbound_auth"}
    url = f"https://me:{WRONG}@api.example"
    unset, wrong = begin("serve", **incomplete), begin("serve", port="high", upstream_url=url, log_level="loud")
    code, out, err = outcome(unset)
    assert (code, out) == (2, "")
    assert err.startswith("gochat-gateway: GATEWAY_INBOUND_AUTH is not set")
    assert len(err.splitlines()) == 1
    code, out, err = outcome(wrong)
    assert (code, out) == (2, "")
    assert sorted(line.split(": ")[:2] for line in err.splitlines()) == [
        ["gochat-gateway", "GATEWAY_LOG_LEVEL"],
        ["gochat-gateway", "GATEWAY_PORT"],
        ["gochat-gateway", "GATEWAY_UPSTREAM_URL"],
    ]
    assert WRONG not in err


def test_the_console_script_and_the_module_are_the_same_program(begin: Start) -> None:
    script = (str(Path(sysconfig.get_path("scripts")) / "gochat-gateway"),)
    for program in (begin("--version", command=script), begin("--version", command=MODULE)):
        assert outcome(program) == (0, f"gochat-gateway {__version__}\n", "")


def test_a_start_imports_nothing_that_the_settings_do_not_ask_for(begin: Start) -> None:
    """Each of them takes a start a twentieth of its time, and more."""
    heavy = {"cryptography", "joserfc", "opentelemetry", "redis", "throttled", "gateway.check", "gateway.sandbox"}
    program = begin(command=(sys.executable, "-c", "import sys, gateway.cli; print(*sys.modules)"))
    code, out, _ = outcome(program)
    assert code == 0
    assert "gateway.app" in out.split()
    assert heavy.isdisjoint(out.split())


def test_a_created_key_is_accepted(begin: Start, upstream: str, tmp_path: Path) -> None:
    code, out, err = outcome(begin("api-key", "mobile-app", "--scope", "chat:read", "--expires", "2999-01-01"))
    assert code == 0
    key, line = out.splitlines()
    assert "shown this once" in err
    assert key not in line
    (tmp_path / "keys.toml").write_text(line)
    authentication = {"inbound_auth": "api_key", "api_keys_file": "keys.toml", "required_scopes": "chat:read"}
    gateway = begin("serve", port="0", upstream_url=upstream, **{**SERVICE, **authentication})
    url = serving(gateway)
    assert ask(url, **{"x-api-key": key}) == {"data": {"thread": {"id": "th-1"}}}
    assert ask(url, **{"x-api-key": f"{key}x"})["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    gateway.interrupt(signal.SIGTERM)
    assert gateway.end() == 0
    assert key not in gateway.err.rest()


def test_an_unusable_key_is_not_created(begin: Start) -> None:
    for arguments in (("a_b",), ("a", "--expires", "2020-01-01"), ("a", "--scope", "x y")):
        code, out, err = outcome(begin("api-key", *arguments))
        assert (code, out) == (2, "")
        assert err.startswith("gochat-gateway: ")


def test_check_fetches_the_keys_of_the_tokens_issuer(begin: Start, upstream: str) -> None:
    issuer = Issuer(Clock())
    tokens = {"inbound_auth": "jwt", "jwt_issuer": "i", "jwt_audience": "a", "upstream_url": upstream}
    good = begin("check", **{**SERVICE, **tokens, "jwt_jwks_url": issuer.url})
    wrong = begin("check", **{**SERVICE, **tokens, "jwt_jwks_url": f"{upstream}/nowhere"})
    code, out, _ = outcome(good)
    assert code == 0
    assert f"ok    tokens: {issuer.url} has 1 of the token issuer's keys" in out
    code, out, _ = outcome(wrong)
    issuer.stop()
    assert code == 1
    assert f"FAIL  tokens: {upstream}/nowhere: the token issuer's keys cannot be fetched (HTTP 404)." in out
