"""Trusted documents: from manifests of three kinds, matched by their tokens or named by their ids, in three modes."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from gateway.cli import app as command_line
from gateway.compat.strawberry import graphql_schema
from gateway.errors import ConfigurationError
from gateway.execution.documents.cache import DocumentCache
from gateway.execution.documents.manifest import TrustedDocument, read_manifest
from gateway.execution.documents.trusted import trust
from gateway.sandbox import Sandbox
from gateway.schema import build_schema
from gateway.settings import TrustMode
from tests.harness import Gateway, StartGateway

QUERY = 'query Thread($id: ID!) { thread(id: $id) { id, tags(x: "a") } }'.replace('(x: "a")', "")
SAME = "# by hand\nquery Thread($id:ID!){\n\tthread(id:$id) {id tags}\n}"
OTHER = "query Thread($id: ID!) { thread(id: $id) { tags id } }"
VARIABLES = {"id": "th-1"}


def digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def apollo(*bodies: str) -> str:
    operations = [{"id": digest(body), "name": "Q", "type": "query", "body": body} for body in bodies]
    return json.dumps({"format": "apollo-persisted-query-manifest", "version": 1, "operations": operations})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text(apollo(QUERY))
    return path


def ask(gateway: Gateway, document: str | None = QUERY, **more: Any) -> httpx.Response:
    return gateway.http.post("/graphql", json={"query": document, "variables": VARIABLES, **more})


def code_of(response: httpx.Response) -> str | None:
    """Return the code with which an operation is refused, None if it is executed."""
    body = response.json()
    return None if "data" in body else str(body["errors"][0]["extensions"]["code"])


def unknown(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [each.__dict__["fields"] for each in caplog.records if each.getMessage() == "a document is not trusted"]


def test_the_mode_require_executes_only_trusted_documents(
    start: StartGateway, sandbox: Sandbox, manifest: Path
) -> None:
    gateway = start(trusted_documents=manifest, trusted_documents_mode="require")
    for _ in range(2):
        assert code_of(ask(gateway)) is None
        assert code_of(ask(gateway, SAME)) is None
    calls = sandbox.count()
    for document in (OTHER, "{ thread(", QUERY + QUERY, QUERY.replace("Thread", "thread", 1), "", "{" * 30_000):
        response = ask(gateway, document or "{ __typename }")
        assert code_of(response) == "DOCUMENT_NOT_TRUSTED"
        assert response.status_code == 200
    assert sandbox.count() == calls


@pytest.mark.parametrize("mode", ["log", "prefer"])
def test_the_other_modes_execute_other_documents_and_log_them_once(
    start: StartGateway, manifest: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    gateway = start(trusted_documents=manifest, trusted_documents_mode=mode)
    for _ in range(3):
        assert code_of(ask(gateway)) is None
        assert code_of(ask(gateway, SAME)) is None
    assert unknown(caplog) == []
    for _ in range(3):
        assert code_of(ask(gateway, OTHER)) is None
    assert code_of(ask(gateway, "{ nothing }")) == "GRAPHQL_VALIDATION_FAILED"
    assert unknown(caplog) == [{"document": digest(OTHER), "operations": ["Thread"]}]


@pytest.mark.parametrize(("mode", "code"), [("log", "MAX_ROOT_FIELDS_LIMIT"), ("prefer", None), ("require", None)])
def test_the_limits_of_documents_do_not_apply_to_trusted_ones(
    start: StartGateway, manifest: Path, mode: str, code: str | None
) -> None:
    large = "{ " + "__typename " * 600 + "} # " + "x" * 40_000
    manifest.write_text(apollo(large))
    gateway = start(trusted_documents=manifest, trusted_documents_mode=mode, max_root_fields=3, max_document=100_000)
    assert code_of(ask(gateway, large)) == code
    other = code_of(ask(gateway, "{ " + "__typename " * 4 + "}"))
    assert other == ("DOCUMENT_NOT_TRUSTED" if mode == "require" else "MAX_ROOT_FIELDS_LIMIT")


@pytest.mark.parametrize(("mode", "code"), [("log", "GRAPHQL_VALIDATION_FAILED"), ("prefer", None), ("require", None)])
def test_trusted_documents_may_use_introspection(
    start: StartGateway, manifest: Path, mode: str, code: str | None
) -> None:
    document = "{ __schema { queryType { name } } }"
    manifest.write_text(apollo(document))
    gateway = start(trusted_documents=manifest, trusted_documents_mode=mode, introspection=False)
    assert code_of(ask(gateway, document)) == code


def test_the_limits_of_variables_apply_to_trusted_documents(start: StartGateway, manifest: Path) -> None:
    document = "query ($ids: [ID!]!) { threads(ids: $ids) { id } }"
    manifest.write_text(apollo(document))
    gateway = start(trusted_documents=manifest, trusted_documents_mode="require", max_list=3, max_cost=2)
    for count, code in ((2, None), (3, "MAX_COST_LIMIT"), (4, "MAX_LIST_LIMIT")):
        assert code_of(ask(gateway, document, variables={"ids": [str(each) for each in range(count)]})) == code


@pytest.mark.parametrize("persisted", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_trusted_document_can_be_named(start: StartGateway, tmp_path: Path, method: str, persisted: bool) -> None:
    path = tmp_path / "relay.json"
    path.write_text(json.dumps({"0123abc": QUERY}))
    gateway = start(trusted_documents=path, trusted_documents_mode="require", persisted_queries=persisted)
    automatic = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(QUERY)}}}
    for name in ({"documentId": "0123abc"}, {"documentId": f"sha256:{digest(QUERY)}"}, automatic):
        request = {**name, "variables": VARIABLES}
        if method == "POST":
            response = gateway.http.post("/graphql", json=request)
        else:
            parameters = {key: each if isinstance(each, str) else json.dumps(each) for key, each in request.items()}
            response = gateway.http.get("/graphql", params=parameters)
        assert response.json()["data"]["thread"]["id"] == "th-1"
    assert code_of(ask(gateway, None, documentId="unknown")) == (
        "BAD_USER_INPUT" if persisted else "PERSISTED_QUERY_NOT_SUPPORTED"
    )


def test_a_refused_document_is_not_registered(start: StartGateway, manifest: Path) -> None:
    gateway = start(trusted_documents=manifest, trusted_documents_mode="require")
    name = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(OTHER)}}}
    assert code_of(ask(gateway, OTHER, **name)) == "DOCUMENT_NOT_TRUSTED"
    assert code_of(ask(gateway, None, **name)) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    ("written", "sent", "is_same"),
    [
        ("{ a b }", "{a,b}", True),
        ("{ a b }", "\ufeff{ a # c\r\n b }", True),
        ("{ a b }", "{ ab }", False),
        ("{ a b }", "{ b a }", False),
        ("{ a b }", "{ a b", False),
        ("{ a b }", "{ a b } { a b }", False),
        ("{ a b }", "query { a b }", False),
        ('{ a(b: "c") }', '{ a(b: """c""") }', True),
        ('{ a(b: "\\u0063") }', '{ a(b: "c") }', True),
        ('{ a(b: "c") }', "{ a(b: c) }", False),
        ('{ a(b: "c d") }', '{ a(b: "c  d") }', False),
        ('{ a(b: "c\\" d: \\"e") }', '{ a(b: "c" d: "e") }', False),
        ("{ a(b: -1) }", "{ a(b: - 1) }", False),
    ],
)
def test_documents_with_the_same_tokens_are_the_same(written: str, sent: str, is_same: bool) -> None:
    trusted = trust([TrustedDocument("entry", written)], TrustMode.REQUIRE, 100)
    assert trusted.as_written(sent) == (written if is_same else sent)
    assert trusted.as_written(written) == written


def test_a_document_with_two_spellings_in_the_manifest_stays_as_it_was_sent() -> None:
    spellings = ["{ a b }", "{a b}"]
    trusted = trust([TrustedDocument("entry", each) for each in spellings], TrustMode.REQUIRE, 100)
    assert [trusted.as_written(each) for each in spellings] == spellings
    assert trusted.as_written("{ a, b }") in spellings


@pytest.mark.parametrize("mode", TrustMode)
def test_all_spellings_of_a_trusted_document_share_one_cache_entry(mode: TrustMode) -> None:
    """A caller cannot evict other documents by white space, nor have one document validated again and again."""
    trusted = trust([TrustedDocument("entry", QUERY)], mode, max_characters=100_000)
    documents = DocumentCache(graphql_schema(build_schema()), size=10, trusted=trusted)
    written = documents.get(QUERY)
    for spelling in (SAME, *(QUERY + " " * blanks for blanks in range(1, 20)), QUERY + "#" * 50_000):
        assert documents.get(spelling) is written
    assert documents.kept == 1


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_a_spelling_is_logged_with_the_hash_of_the_manifests_document(
    start: StartGateway, manifest: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    gateway = start(trusted_documents=manifest, trusted_documents_mode=mode)
    for document in (QUERY, SAME, QUERY + " " * 30_000):
        assert code_of(ask(gateway, document)) is None
    told = [each.__dict__["fields"]["document"] for each in caplog.records if each.getMessage() == "operation"]
    assert told == [digest(QUERY)[:16]] * 3


def test_the_three_kinds_of_manifests_have_the_same_documents(tmp_path: Path) -> None:
    folder = tmp_path / "queries"
    (folder / "below").mkdir(parents=True)
    (folder / "one.graphql").write_text(QUERY)
    (folder / "below" / "two.gql").write_text(OTHER)
    (folder / "README.md").write_text("not a document")
    files = {"apollo.json": apollo(OTHER, QUERY), "relay.json": json.dumps({"a": OTHER, "b": QUERY})}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    texts = [{each.text for each in read_manifest(tmp_path / name)} for name in (*files, "queries")]
    assert texts == [{QUERY, OTHER}] * 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is not JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({"a": 1}), "a must have a document, as a string."),
        (json.dumps({"a": "{ b"}), "a: Syntax Error: Expected Name, found <EOF>."),
        (json.dumps({"format": "other", "version": 1, "operations": []}), "`format` must be"),
        (apollo().replace('"version": 1', '"version": 2'), "`version` 1"),
        (apollo().replace("[]", "{}"), "`operations` must be a list."),
        (apollo().replace("[]", "[1]"), "operations[0] must be an object."),
        (apollo().replace("[]", '[{"id": "a"}]'), "operations[0] must have `body`, a string."),
        (apollo().replace("[]", '[{"body": "{a}"}]'), "operations[0] must have `id`, a string."),
        (apollo("{ a", "{ b"), "operations[1] (Q): Syntax Error"),
        (apollo("{a}", "{ a }").replace(digest("{a}"), digest("{ a }")), "have the same id"),
    ],
)
def test_the_start_fails_with_the_path_of_an_invalid_manifest(
    start: StartGateway, manifest: Path, text: str, says: str
) -> None:
    manifest.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        start(trusted_documents=manifest)
    assert any(says in problem for problem in caught.value.problems), caught.value.problems
    assert all(problem.startswith(f"{manifest}: ") for problem in caught.value.problems)


def test_a_folder_without_documents_and_a_binary_file_are_invalid(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no \.graphql file"):
        read_manifest(tmp_path)
    (tmp_path / "a.graphql").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"a\.graphql is not UTF-8"):
        read_manifest(tmp_path)


def test_a_path_that_does_not_exist_is_an_invalid_setting(start: StartGateway, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_TRUSTED_DOCUMENTS: must be a file or a folder"):
        start(trusted_documents=tmp_path / "nothing")


def documents(path: Path) -> tuple[int, list[str]]:
    done = CliRunner().invoke(command_line, ["documents", str(path)])
    return done.exit_code, done.stdout.splitlines()


def test_the_command_shows_each_document_with_its_depth_and_cost(tmp_path: Path) -> None:
    cases = {
        "a": ("query A { thread(id: 1) { id messages @skip(if: true) { totalCount } } }", "query A, depth 3, cost 2"),
        "b": ("{ __typename }", "query, depth 1, cost 0"),
        "c": ("query ($a: [ID!]!) { threads(ids: $a) { id } }", "query, depth 2, cost 1 to 200"),
        "d": ("{ threads(ids: [1, 2, 3]) { customers { profile { customer { id } } } } }", "query, depth 5, cost 18"),
        "e": ("query A { __typename } query B { customer(externalId: 1) { id } }", None),
    }
    path = tmp_path / "relay.json"
    path.write_text(json.dumps({name: text for name, (text, _) in cases.items()}))
    expected = [f"ok    {name}: {says}" for name, (_, says) in cases.items() if says]
    assert documents(path) == (0, [*expected, "ok    e: query A, depth 1, cost 0; query B, depth 2, cost 1"])


def test_the_command_fails_for_documents_that_would_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.json"
    texts = {
        "fine": "{ __typename }",
        "misspelt": "{ thred(id: 1) { id } }",
        "deep": "{ thread(id: 1) { lastMessage { id } } }",
        "dear": "{ threads(ids: [1, 2, 3]) { id } }",
    }
    path.write_text(json.dumps(texts))
    monkeypatch.setenv("GATEWAY_MAX_DEPTH", "2")
    monkeypatch.setenv("GATEWAY_MAX_COST", "2")
    status, (fine, misspelt, deep, dear) = documents(path)
    assert status == 1
    assert fine.startswith("ok ")
    assert misspelt.startswith("FAIL  misspelt: GRAPHQL_VALIDATION_FAILED: Cannot query field 'thred'")
    assert deep.startswith("FAIL  deep: MAX_DEPTH_LIMIT: An operation is 3 fields deep")
    assert dear == "FAIL  dear: query, depth 2, cost 3: more than 2"
