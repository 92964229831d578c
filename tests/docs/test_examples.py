"""The examples of the documentation run, and are answered as they say."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from gateway.auth.api_keys import load_api_keys
from gateway.demo import QUERY
from gateway.sandbox import Fault, Sandbox
from gateway.settings import PREFIX, Settings
from tests.docs.page import DOCS, PAGES, README, ROOT, Section, commands
from tests.harness import FIELDS, Gateway, StartGateway, build_authenticator, settings

GATEWAY = "http://127.0.0.1:8000"
SANDBOX = "http://127.0.0.1:9000"
ANYTHING = "…"
"""In an answer: a text that is another one each time."""
LANGUAGES = {"", "diff", "graphql", "graphqls", "ini", "js", "json", "python", "sh", "toml", "ts", "yaml"}


def sections() -> Iterator[Section]:
    """Yield the sections that ask the gateway or the sandbox something."""
    for page in (README, *DOCS):
        for section in page.sections:
            if any(each.language in {"graphql", "json"} or SANDBOX in each.text for each in section.blocks):
                yield section


def env_file(text: str) -> dict[str, str]:
    """Return the settings of a block ``ini`` by the names that tests use."""
    values = dotenv_values(stream=io.StringIO(text))
    return {str(name).removeprefix(PREFIX).lower(): str(value) for name, value in values.items()}


def answers(shown: Any, sent: Any) -> bool:
    """Return whether an answer is the one that is shown."""
    match shown:
        case dict():
            return (
                isinstance(sent, dict)
                and shown.keys() == sent.keys()
                and all(answers(shown[k], sent[k]) for k in shown)
            )
        case list():
            return isinstance(sent, list) and len(shown) == len(sent) and all(map(answers, shown, sent))
        case _:
            return shown == sent or (shown == ANYTHING and isinstance(sent, str))


@dataclass
class Reader:
    """Someone who follows a section from top to bottom, with a gateway and a sandbox."""

    gateway: Gateway
    sandbox_url: str
    explain: bool = False
    answer: Any = None

    def follow(self, section: Section) -> None:
        """Send what the section sends; fail if an answer is another one than the one shown."""
        for block in section.blocks:
            match block.language:
                case "graphql" if block.text.startswith("subscription"):
                    self.answer = self.first_event(block.text)
                case "graphql":
                    self.answer = self.gateway.query(block.text)
                case "sh":
                    for words in commands(block.text):
                        if words[0] == "curl":
                            self.answer = self.send(words[1:])
                case "json":
                    assert answers(json.loads(block.text), self.answer), json.dumps(self.answer, ensure_ascii=False)

    def first_event(self, document: str) -> Any:
        """Subscribe, and return the first result."""
        headers = {"accept": "text/event-stream", "gateway-explain": str(int(self.explain))}
        with self.gateway.http.stream("POST", "/graphql", json={"query": document}, headers=headers) as response:
            line = next(each for each in response.iter_lines() if each.startswith("data: "))
        result = json.loads(line.removeprefix("data: "))
        assert "errors" not in result, line
        return result

    def send(self, words: list[str]) -> Any:
        """Send a request as curl does, with the few options that the pages use."""
        (url,) = (each for each in words if each.startswith("http"))
        words.remove(url)
        method, headers, body, params = "GET", {}, None, {}
        while words:
            match words.pop(0):
                case "-X":
                    method = words.pop(0)
                case "-H":
                    name, _, value = words.pop(0).partition(": ")
                    headers[name] = value
                case "-d":
                    method, body = ("POST" if method == "GET" else method), words.pop(0)
                case "-G":
                    pass
                case "--data-urlencode":
                    name, _, value = words.pop(0).partition("=")
                    params[name] = value
                case option:
                    pytest.fail(f"curl {option}: unknown here")
        target = url.replace(GATEWAY, self.gateway.url).replace(SANDBOX, self.sandbox_url)
        assert target != url, f"{url} is neither the demo's gateway nor its sandbox"
        sent = self.gateway.http.request(method, target, headers=headers, content=body, params=params or None)
        assert sent.is_success, sent.text
        return sent.json() if sent.content else None


@pytest.mark.parametrize("section", list(sections()), ids=str)
def test_a_section_can_be_followed(section: Section, start: StartGateway, upstream: str) -> None:
    own = {
        name: value for each in section.blocks if each.language == "ini" for name, value in env_file(each.text).items()
    }
    Reader(start(**{"explain": True, "graphiql": True, **own}), upstream, "explain" in own).follow(section)


def test_an_answer_is_compared() -> None:
    assert answers({"a": ["…", 1]}, {"a": ["x", 1]})
    for other in ({"a": ["x", 2]}, {"a": ["x"]}, {"a": ["x", 1], "b": 1}, {"a": [None, 1]}, {"a": "x"}):
        assert not answers({"a": ["…", 1]}, other)


def test_the_readmes_query_is_the_demos_and_costs_one_call(gateway: Gateway, sandbox: Sandbox) -> None:
    (query,) = README.fenced("graphql")
    assert query.strip() == QUERY
    gateway.data(query)
    assert sandbox.count("thread") == 1


def test_the_faults_shown_are_accepted_as_they_are_meant(sandbox: Sandbox, start: StartGateway, upstream: str) -> None:
    (page,) = (each for each in DOCS if each.name.endswith("sandbox.md"))
    section = page.section("How do I provoke a fault?")
    lines = [words for each in section.blocks for words in commands(each.text)]
    *faults, last = lines
    gateway = start()
    for words in faults:
        Reader(gateway, upstream).send(words[1:])
        assert sandbox.faults.pending()[-1] == Fault.from_json(json.loads(words[-1]))
    Reader(gateway, upstream).send(last[1:])
    assert sandbox.faults.pending() == (), "the last line deletes them"


def settings_shown() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for text in page.fenced("ini"):
            yield page.name, text


@pytest.mark.parametrize(("_page", "text"), list(settings_shown()))
def test_settings_that_are_shown_are_accepted(_page: str, text: str) -> None:
    names = env_file(text)
    assert set(names) <= set(FIELDS)
    loaded: Settings = settings(**names)
    build_authenticator(loaded)


def test_both_identities_are_shown() -> None:
    shown = {env_file(text).get("upstream_identity") for text in README.fenced("ini")}
    assert shown == {"passthrough", "service"}


def test_the_line_of_the_file_of_api_keys_is_one(tmp_path: Path) -> None:
    (line,) = (text for page in DOCS for text in page.fenced("toml") if "ariadne" not in text)
    file = tmp_path / "keys.toml"
    file.write_text(line)
    ((identifier, key),) = load_api_keys(file).items()
    assert (identifier, sorted(key.viewer.scopes)) == ("mobile-app", ["chat:read"])


def test_the_programs_and_the_subgraph_shown_are_those_that_the_tests_run() -> None:
    files = [
        "federation/gateway.config.mjs",
        "federation/websocket.config.mjs",
        "federation/subgraph.graphql",
        "federation/requires.graphql",
        "clients/codegen.ts",
        "clients/src/apollo.ts",
        "clients/src/apollo.ts",  # two pages show a part of it
        "clients/relay/Conversation.js",
        "clients/relay/Conversation.js",  # the page shows two parts of it
        "clients/python/ariadne.toml",
        "clients/python/with_ariadne.py",
        "clients/python/with_gql.py",
        "clients/python/with_httpx.py",
        "embedding/shop.py",
        "embedding/with_fastapi.py",
        "embedding/with_starlette.py",
    ]
    run = [" ".join((ROOT / "tests" / each).read_text(encoding="utf-8").split()) for each in files]
    shown = [
        " ".join(text.split())
        for page in DOCS
        for language in ("js", "ts", "graphqls", "python", "toml")
        for text in page.fenced(language)
        if page.name != "docs/operating/authentication.md"
    ]
    assert [each for each in shown if not any(each in text for text in run)] == []
    assert len(shown) == len(files)


def test_yaml_can_be_read() -> None:
    shown = [yaml.safe_load(text) for page in PAGES for text in page.fenced("yaml")]
    assert all(isinstance(each, dict) for each in shown)


def test_a_block_has_a_language_that_a_test_knows() -> None:
    assert {block.language for page in PAGES for block in page.blocks} <= LANGUAGES


def test_no_command_hides_in_an_indented_block() -> None:
    """Commands stand in blocks ``sh``, where the tests find them."""
    for page in PAGES:
        assert [line for line in page.prose.splitlines() if line.startswith(("    uv ", "    curl ", "    npm "))] == []
