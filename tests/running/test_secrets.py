"""No secret leaks under any fault: not into the log, an error, a metric, a repr or the process arguments.

Every secret contains a mark, and so do the names and messages in the REST API's data. Every fault is provoked, and all
output is searched for the marks. Responses to queries contain data, so only their errors, extensions and headers are
searched.
"""

import base64
import contextlib
import dataclasses
import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import typer.main
from prometheus_client import generate_latest

import gateway
from gateway.auth.api_keys import generate_api_key
from gateway.cli import app as command_line
from gateway.sandbox import Accounts, Fault, Sandbox
from gateway.telemetry import configure_logging
from gateway.telemetry.metrics import Metrics
from gateway.upstream.contract.model import Event as ContractEvent
from gateway.web.graphiql.page import GraphiQL
from tests.harness import FIELDS, Clock, Gateway, StartGateway
from tests.programs import MODULE, Program, Start, serving
from tests.upstream.redis_server import RedisServer
from tests.upstream.test_fault_matrix import FAULTS, HTML

USER = "service@sandbox.example"
PASSWORD = "marked-password-of-the-account"
CALLERS_PASSWORD = "marked-password-of-a-caller"
CACHE_PASSWORD = "marked-password-of-redis"
CACHE_SECRET = "marked-secret-of-the-cache"
NAME = "Marked-Name-Of-A-Customer"
CONTENT = "marked content of a message"
UPSTREAM_MESSAGE = "marked message of an error"
BASIC = "Basic " + base64.b64encode(f"{USER}:{CALLERS_PASSWORD}".encode()).decode()
BEARER = "Bearer marked-token-of-a-caller"
MARKS = (
    PASSWORD,
    CALLERS_PASSWORD,
    CACHE_PASSWORD,
    CACHE_SECRET,
    NAME,
    CONTENT,
    UPSTREAM_MESSAGE,
    BASIC.partition(" ")[2],
    BEARER.partition(" ")[2],
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
)
QUERIES = (
    '{ thread(id: "marked") { id lastMessage { content } customers { firstName } } }',
    '{ thread(id: "marked") { messages { totalCount nodes { content } } } }',
    '{ customer(externalId: "cu-1") { id firstName profile { customFields { value } } } }',
    "{ nonsense }",
    "{ not even graphql",
)
THREAD = {
    "id": "marked",
    "last_message": {"id": "m-1", "content": CONTENT, "subject": CONTENT},
    "customers": [{"id": "c-1", "first_name": NAME, "external_id": "cu-1"}],
}
# Responses with data in the wrong place: values of other types, and errors that quote them.
QUOTING: dict[str, dict[str, Any]] = {
    "drift": {"body": json.dumps({**THREAD, "id": {"of": NAME}, "customers": NAME, "last_message": CONTENT})},
    "cut off": {"body": f'{{"id": "marked", "last_message": {{"content": "{CONTENT}'},
    "error that quotes": {"status": 422, "body": json.dumps({"errors": [{"code": "x", "message": UPSTREAM_MESSAGE}]})},
    "page that quotes": {"status": 500, "body": HTML + UPSTREAM_MESSAGE, "content_type": "text/html"},
    "header that quotes": {"status": 429, "headers": {"retry-after": UPSTREAM_MESSAGE}},
}
# Names of attributes that hold a credential, or what a caller or the REST API sent.
CREDENTIALS_AND_CONTENTS = {
    *("authorization", "token", "password", "secret", "api_key", "key_hash", "proxy_authorization"),
    *("body", "content", "payload", "variables", "data", "bodies"),
}
# Attributes with such a name that hold something else.
ONLY_NAMES: dict[type, set[str]] = {ContractEvent: {"data"}, GraphiQL: {"authorization"}}
EVERYTHING = {**FAULTS, **QUOTING}


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox(accounts=Accounts({USER: PASSWORD}, lockout_after=10_000))
    sandbox.store.put_thread(THREAD, [{"id": "m-1", "content": CONTENT}])
    return sandbox


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Return a function that returns everything logged at level debug, by the gateway and by libraries."""
    loggers = [logging.getLogger(name) for name in ("gateway", "uvicorn", "asyncio")]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    lines = io.StringIO()
    with contextlib.redirect_stderr(lines):  # the stream of `capsys` is closed when the fixtures are ready
        configure_logging("debug")
    caplog.set_level(logging.DEBUG)

    def written() -> str:
        captured = capsys.readouterr()
        return lines.getvalue() + captured.err + captured.out + caplog.text

    yield written
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def output(gateway: Gateway, headers: dict[str, str]) -> str:
    """Send every query, and return the responses without their data."""
    pieces = []
    for query in QUERIES:
        response = gateway.http.post("/graphql", json={"query": query}, headers=headers)
        answer = response.json()
        pieces += [json.dumps({name: value for name, value in answer.items() if name != "data"}), str(response.headers)]
    for path in ("/health", "/ready", "/nowhere"):
        pieces.append(gateway.http.get(path).text)
    return "\n".join(pieces)


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """Hide from `gc.get_objects` what there was before: it takes seconds to search the objects of all tests."""
    gc.freeze()
    yield
    gc.unfreeze()


def objects() -> Iterator[str]:
    """Yield the repr of every object of the gateway, as a debugger or a log line could show it."""
    for each in gc.get_objects():
        module = getattr(type(each), "__module__", "")
        if isinstance(module, str) and module.startswith("gateway.") and not module.startswith("gateway.sandbox"):
            yield repr(each)


def metrics() -> str:
    """Return the metrics of the gateway that the test started."""
    return "".join(generate_latest(each.registry).decode() for each in gc.get_objects() if type(each) is Metrics)


def found(text: str, *more: str) -> list[str]:
    return [mark for mark in (*MARKS, *more) if mark in text]


@pytest.mark.slow  # it searches every object of a gateway
@pytest.mark.usefixtures("only_new_objects")
@pytest.mark.parametrize("fault", EVERYTHING)
@pytest.mark.parametrize("mode", ["service", "passthrough"])
def test_no_fault_leaks_a_secret(
    start: StartGateway, sandbox: Sandbox, log: Any, tmp_path: Path, mode: str, fault: str
) -> None:
    key, line = generate_api_key("caller", [], None)
    (tmp_path / "keys.toml").write_text(line, encoding="utf-8")
    service = {"inbound_auth": "api_key", "api_keys_file": tmp_path / "keys.toml", "upstream_username": USER}
    cache = {"cache_url": f"redis://:{CACHE_PASSWORD}@127.0.0.1:1/0", "cache_secret": CACHE_SECRET}
    settings = {**cache, "upstream_identity": mode, "explain": True, "metrics_port": 0}
    if mode == "service":
        settings |= {**service, "upstream_password": PASSWORD}
    slow = 0.1 if fault in {"no answer", "slow body"} else 30
    gateway = start(timing=Clock().timing, upstream_read_timeout=slow, log_level="debug", **settings)
    callers = [{"x-api-key": key}] if mode == "service" else [{"authorization": BASIC}, {"authorization": BEARER}]
    for caller in callers:
        headers = {**caller, "gateway-explain": "1"}
        out = output(gateway, headers)
        sandbox.faults.add(Fault("*", **EVERYTHING[fault]))
        out += output(gateway, headers)
        sandbox.faults.clear()
        tokens = {call.headers.get("authorization", "").partition(" ")[2] for call in sandbox.calls} - {""}
        assert mode == "passthrough" or tokens
        logged = log()
        assert '"operation"' in logged
        assert found(out + logged, key, *tokens) == []
    measured, shown = metrics(), list(objects())
    assert "gochat_gateway_operations_total" in measured
    assert any("GraphQLEndpoint" in each for each in shown)
    assert found(measured + "\n".join(shown), key) == []


def _classes() -> Iterator[type]:
    """Yield every class of the gateway that is a dataclass, a struct or a named tuple."""
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.startswith(
            ("gateway.sandbox", "gateway.schema", "gateway.web.graphiql.hatch_hook", "gateway.__main__")
        ):
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, type) and each.__module__ == module.name and _fields(each):
                    yield each


def _fields(kind: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(each.name for each in dataclasses.fields(kind))
    is_struct, is_tuple = issubclass(kind, msgspec.Struct), issubclass(kind, tuple)
    names: tuple[str, ...] = kind.__struct_fields__ if is_struct else getattr(kind, "_fields", ()) if is_tuple else ()
    return names


def test_no_object_shows_the_credentials_and_contents_that_it_holds() -> None:
    """A debugger, a traceback with its locals, or a careless log line would."""
    shown, tried = [], 0
    for kind in _classes():
        hidden = CREDENTIALS_AND_CONTENTS.intersection(_fields(kind)) - ONLY_NAMES.get(kind, set())
        values = dict.fromkeys(_fields(kind)) | dict.fromkeys(hidden, f"the {NAME}")
        if dataclasses.is_dataclass(kind):
            made = object.__new__(kind)
            for name, value in values.items():
                object.__setattr__(made, name, value)
        else:
            made = kind(**values)
        tried += len(hidden)
        if NAME in repr(made):
            shown.append(f"{kind.__module__}.{kind.__qualname__}: {', '.join(sorted(hidden))}")
    assert tried > 20
    assert not shown, "\n".join(shown)


def test_the_search_finds_marks_in_data(gateway: Gateway) -> None:
    """Otherwise the other tests would prove nothing."""
    answer = gateway.query('{ thread(id: "marked") { lastMessage { content } customers { firstName } } }')
    assert found(json.dumps(answer)) == [NAME, CONTENT]


def test_no_secret_is_among_a_process_arguments_or_in_its_log(
    begin: Start, upstream: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    with RedisServer(password=CACHE_PASSWORD) as redis:
        (tmp_path / ".env").write_text(f"GATEWAY_UPSTREAM_PASSWORD={PASSWORD}\n")
        settings = {"upstream_identity": "service", "upstream_username": USER, "inbound_auth": "none"}
        cache = {"cache_url": redis.url, "cache_secret": CACHE_SECRET, "shutdown_delay": "0"}
        options = ("serve", "--port", "0", "--workers", "2", "--log-level", "debug")
        program = begin(*options, command=MODULE, upstream_url=upstream, **settings, **cache)
        url = serving(program)
        with_redis = _ask(url)
        redis.kill()
        without = _ask(url)
        arguments = "\n".join(_arguments(program))
        assert "--log-level" in arguments
        assert "spawn_main" in arguments, "the workers' arguments are included"
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.end() == 0
    assert [each["data"]["thread"]["id"] for each in (with_redis, without)] == ["marked"] * 2
    tokens = {call.headers.get("authorization", "").partition(" ")[2] for call in sandbox.calls} - {""}
    assert found(arguments + program.err.rest() + program.out.rest(), *tokens) == []


def test_no_flag_takes_a_secret() -> None:
    """Every user of the machine can read the arguments of a process."""
    secret = {name for name, field in FIELDS.items() if "SecretStr" in str(field.annotation)}
    assert secret >= {"upstream_password", "cache_secret", "cache_url"}
    assert not secret & _flags_of_serve()


def _flags_of_serve() -> set[str]:
    group: Any = typer.main.get_command(command_line)
    return {each.name for each in group.commands["serve"].params}


def _ask(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(url, json={"query": QUERIES[0]}, trust_env=False, timeout=30).json()
    return answer


def _arguments(program: Program) -> Iterator[str]:
    pid = program.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (str(pid), *children):
        yield Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode()
