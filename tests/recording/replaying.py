"""Records what queries read of the sandbox, replays it, and compares the answers.

The recording gateway and the replaying one have the same settings. Some threads and customers have a fault that stays,
so that answers with errors are among those that are compared.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Replay, Sandbox, sandbox_config, seed
from gateway.server.config import gateway_config
from gateway.upstream.contract import THREAD
from tests.execution.comparison import SCHEMA
from tests.harness import NO_CERTIFICATES, SERVICE, settings
from tests.recording.corpus import Query
from tests.recording.equality import Answer, Equality
from tests.recording.ids import ids_of, with_ids

FAULTS = (
    Fault("thread", "th-100", status=500),
    Fault("thread", "th-101", status=502, body="<html>", content_type="text/html"),
    Fault("thread", "th-102", status=403),
    Fault("thread", "th-103", patch={"message_count": "many", "unknown": "field"}),
    Fault("messages", "th-104", status=409),
    Fault("messages", "th-105", patch={"messages.*.priority": "high"}),
    Fault("customer", "cu-3", status=503),
    Fault("customer", "cu-4", patch={"customer.kyc_level": "high"}),
)
SETTINGS = {**SERVICE, "upstream_retries": 0, "breaker_min_volume": 1_000_000, "upstream_auth": "basic"}
# What the generator of queries names, and what is like it in the sandbox.
KNOWN = {"1": "th-1", "2": "th-4", "é/ü": "th-ünï/code?", "e-1": "cu-1", "e-2": "cu-2"}

_LEARN = Query("query ($id: ID!) { thread(id: $id) { id } }", {})
_MOST_TRIES = 5
_LONG_ENOUGH = 8


class CollisionError(Exception):
    """Two ids got the same invented one, which a few characters make possible: a recording cannot hold both."""


@dataclass(slots=True)
class Report:
    """What was compared: how many queries, how many of them with errors, and how many exchanges were recorded."""

    queries: int = 0
    with_errors: int = 0
    exchanges: int = 0
    calls: int = 0
    tries: int = 1
    differences: list[str] = field(default_factory=list)


def compare(queries: Sequence[Query]) -> Report:
    """Record, replay and compare; ``calls`` are those that the sandbox answered."""
    queries = [with_ids(each, _in_sandbox) for each in queries]
    for tries in range(1, _MOST_TRIES + 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = _compare(queries, Path(folder) / "recording")
            except CollisionError:
                continue
            report.tries = tries
            return report
    raise AssertionError(f"two ids got the same invented one in {_MOST_TRIES} recordings")


def _in_sandbox(ident: str) -> str:
    """Return an id of the sandbox's data, or a longer one that it does not have: the invented ones have to differ."""
    known = KNOWN.get(ident, ident)
    return f"missing-{known}" if known.isalnum() and len(known) < _LONG_ENOUGH else known


def _compare(queries: Sequence[Query], directory: Path) -> Report:
    sandbox = Sandbox()
    sandbox.faults.add(*FAULTS)
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        with _gateway(upstream, record=directory) as client:
            ids = _learn(client, directory, queries)
            live = [_ask(client, each) for each in queries]
        recorded = len(list(directory.iterdir()))
        replay = stack.enter_context(BackgroundServer(sandbox_config(Replay(directory).app))).url
        client = stack.enter_context(_gateway(replay))
        report = Report(len(queries), exchanges=recorded, calls=sandbox.count())
        equality = Equality(ids)
        for query, before in zip(queries, live, strict=True):
            renamed = with_ids(query, lambda ident: ids.get(ident, ident))
            first, second = _ask(client, renamed), _ask(client, renamed)
            report.with_errors += "errors" in before.body
            found = [*equality.differences(query, before, first)]
            if first.status != second.status or first.body.get("data") != second.body.get("data"):
                found.append("the second answer is another one")
            report.differences += [f"{each}\n{query.document}\n{json.dumps(query.variables)}" for each in found]
        return report


def _learn(client: httpx.Client, directory: Path, queries: Sequence[Query]) -> dict[str, str]:
    """Return the invented id for each id of a query, and of the customers to whom threads lead, by reading it once."""
    names = {*seed().customers, *(each for query in queries for each in ids_of(query))}
    before, _, after = THREAD.template.partition("{")
    ids: dict[str, str] = {}
    known: set[Path] = set()
    for name in sorted(names):
        answer = _ask(client, _LEARN._replace(variables={"id": name}))
        new = set(directory.iterdir()) - known
        known |= new
        codes = {error["extensions"]["code"] for error in answer.body.get("errors", ())}
        if not new and "BAD_USER_INPUT" not in codes:
            raise CollisionError(name)
        for each in new:
            path = json.loads(each.read_text())["path"]
            ids[name] = unquote(path.removeprefix(before).removesuffix(after.partition("}")[2]))
    return ids


def _ask(client: httpx.Client, query: Query) -> Answer:
    body = {"query": query.document, "variables": query.variables, "operationName": query.name}
    content = json.dumps(body)  # httpx would encode it as UTF-8, which a lone surrogate cannot be
    response = client.post("/graphql", content=content, headers={"content-type": "application/json"})
    return Answer(response.status_code, response.json())


@contextmanager
def _gateway(upstream: str, **more: object) -> Iterator[httpx.Client]:
    app = create_app(settings(**{"upstream_url": upstream, **SETTINGS, **more}), schema=SCHEMA)
    with (
        BackgroundServer(gateway_config(app)) as server,
        httpx.Client(base_url=server.url, trust_env=False, verify=NO_CERTIFICATES, timeout=60) as client,
    ):
        yield client
