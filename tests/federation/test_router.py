"""Behind Hive Gateway and Apollo Gateway, beside a second subgraph: one query spans both."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.sandbox import PASSWORD, USERNAME, Accounts, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from gateway.telemetry.metrics import Metrics
from tests.federation.composition import SECOND, compose
from tests.harness import NO_CERTIFICATES, settings
from tests.javascript import Project, project
from tests.programs import free_port

pytestmark = pytest.mark.slow

MAX_CONCURRENCY = 16
OTHER_USER = "second@sandbox.example"
ESCALATIONS = "query ($ids: [ID!]!) { escalations(threads: $ids) { id risk messageCount } }"
HUNDRED = [f"th-{number}" for number in range(100, 200)]


def basic(username: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Graph:
    """A running router in front of the gateway, which is in passthrough mode, and of a second subgraph."""

    sandbox: Sandbox
    router: httpx.Client
    second: httpx.Client
    metrics: Metrics
    supergraph: Path

    def ask(self, document: str, /, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        """Run an operation through the router, as the sandbox's user."""
        body = {"query": document, "variables": variables}
        sent = {"authorization": basic(USERNAME)} if headers is None else headers
        response = self.router.post("/graphql", json=body, headers=sent)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def data(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Run an operation that has no errors, and return its data."""
        answer = self.ask(document, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    @contextmanager
    def watching(
        self, document: str, /, router: httpx.Client | None = None, **variables: Any
    ) -> Iterator[Iterator[Any]]:
        """Subscribe through the router, as the sandbox's user, and yield the data of the results, without errors."""
        body = {"query": document, "variables": variables}
        headers = {"authorization": basic(USERNAME), "accept": "text/event-stream"}
        with (router or self.router).stream("POST", "/graphql", json=body, headers=headers) as response:
            yield map(_data, filter(_has_result, response.iter_lines()))

    def opened(self, transport: str) -> float:
        """Return how many subscriptions were opened at the gateway over a transport."""
        name = "gochat_gateway_subscriptions_opened_total"
        return self.metrics.registry.get_sample_value(name, {"transport": transport}) or 0.0

    def seen_by_second(self) -> list[dict[str, Any]]:
        """Return the requests that the second subgraph got so far."""
        requests: list[dict[str, Any]] = self.second.get("").json()
        return requests


def _start_router(
    stack: ExitStack, federation: Project, supergraph: Path, config_path: str = "gateway.config.mjs"
) -> httpx.Client:
    port = str(free_port())  # the router does not say which one it picked itself
    config = ["--config-path", config_path, "--host", "127.0.0.1", "--port", port]
    router = federation.running(
        "node_modules/.bin/hive-gateway", "supergraph", str(supergraph), *config, until="Listening on"
    )
    stack.enter_context(router)
    return stack.enter_context(_client(f"http://127.0.0.1:{port}"))


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    federation = project("federation")
    sandbox = Sandbox(accounts=Accounts({OTHER_USER: PASSWORD}), echo_caller=True)
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        app = create_app(
            settings(
                upstream_url=upstream,
                upstream_max_concurrency=MAX_CONCURRENCY,
                resync_interval=0.3,
                mutations=True,
                metrics_port=0,
            )
        )

        gateway = stack.enter_context(BackgroundServer(gateway_config(app))).url
        second = stack.enter_context(federation.running("subgraph.mjs", until="http://"))
        sdl = SECOND.read_text(encoding="utf-8")
        (composed,) = compose(federation, sdl, url=f"{gateway}/graphql", second_url=second)
        supergraph = tmp_path_factory.mktemp("federation") / "supergraph.graphql"
        supergraph.write_text(composed["guild"].supergraph or "", encoding="utf-8")
        router = _start_router(stack, federation, supergraph)
        supergraph.with_name("apollo.graphql").write_text(composed["apollo"].supergraph or "", encoding="utf-8")
        yield Graph(sandbox, router, stack.enter_context(_client(second)), app.state.metrics, supergraph)


@pytest.fixture
def graph(running: Graph) -> Graph:
    running.sandbox.faults.clear()
    running.sandbox.clear()
    return running


@pytest.fixture(scope="module")
def apollo(running: Graph) -> Iterator[httpx.Client]:
    """Run Apollo Gateway with the supergraph that Apollo's composer made."""
    supergraph = running.supergraph.with_name("apollo.graphql")
    with project("federation").running("apollo.mjs", str(supergraph), until="http://") as url, _client(url) as client:
        yield client


@pytest.fixture(params=["hive", "apollo"])
def routed(request: pytest.FixtureRequest, graph: Graph) -> Graph:
    """The graph behind one router, and behind the other."""
    return graph if request.param == "hive" else replace(graph, router=request.getfixturevalue("apollo"))


def test_a_thread_of_the_gateway_has_what_the_second_subgraph_knows_of_it_and_its_customers(routed: Graph) -> None:
    data = routed.data(
        """{
          thread(id: "th-1") {
            status risk
            customers { externalId firstName score }
            lastMessage { attachments { fileName virusReport } }
          }
        }"""
    )
    thread = data["thread"]
    assert (thread["status"], thread["risk"]) == ("Open", "risk of th-1")
    assert [each["externalId"] for each in thread["customers"]] == ["cu-1", "cu-2", "cu-5"]
    assert thread["customers"][0] == {"externalId": "cu-1", "firstName": "Tobrik", "score": "score of c0001"}
    assert thread["lastMessage"]["attachments"][2] == {"fileName": "at-3.exe", "virusReport": "report of at-3"}
    assert routed.sandbox.count() == 1


def test_a_thread_of_the_second_subgraph_is_filled_by_its_id(routed: Graph) -> None:
    data = routed.data(
        """{
          escalations(threads: ["th-1", "th-101"]) {
            id risk status lastMessage { id } messages(first: 1) { totalCount nodes { id } }
          }
        }"""
    )
    first, second = data["escalations"]
    assert (first["risk"], first["status"], first["messages"]["totalCount"]) == ("risk of th-1", "Open", 4)
    assert (second["risk"], second["status"], second["messages"]["totalCount"]) == ("risk of th-101", 2, 3)
    assert (routed.sandbox.count("thread"), routed.sandbox.count("messages")) == (2, 2)


def test_a_customer_of_the_second_subgraph_is_filled_by_its_external_id(routed: Graph) -> None:
    data = routed.data('{ suspect(externalId: "cu-1") { id firstName score profile { customFields { name } } } }')
    suspect = data["suspect"]
    assert (suspect["id"], suspect["firstName"], suspect["score"]) == ("c0001", "Tobrik", "score of cu-1")
    assert suspect["profile"]["customFields"][0] == {"name": "Field 1"}
    assert routed.sandbox.count("customer") == 1, "the customer and its profile are one document"


def test_a_customer_without_an_external_id_is_found_by_its_id(routed: Graph) -> None:
    """The second subgraph names the key `id` first, and that is the one the router takes."""
    customers = routed.data('{ thread(id: "th-4") { customers { externalId score } } }')["thread"]["customers"]
    assert customers[1] == {"externalId": None, "score": "score of c-no-external-id"}


def test_a_thread_that_does_not_exist_has_only_what_the_second_subgraph_knows(routed: Graph) -> None:
    data = routed.data(ESCALATIONS, ids=["nowhere", "th-100"])
    assert data["escalations"][0] == {"id": "nowhere", "risk": "risk of nowhere", "messageCount": None}
    assert data["escalations"][1]["messageCount"] == 2


def test_a_hundred_threads_are_a_hundred_calls_as_many_at_a_time_as_allowed(graph: Graph) -> None:
    graph.sandbox.faults.add(Fault("thread", hold="all"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(graph.data, ESCALATIONS, ids=[*HUNDRED, *HUNDRED[:10]])
        try:
            graph.sandbox.wait_for_calls(MAX_CONCURRENCY, route="thread")
        finally:
            graph.sandbox.release("all")
        threads = asked.result(30)["escalations"]
    assert [each["id"] for each in threads] == [*HUNDRED, *HUNDRED[:10]]
    assert all(each["messageCount"] for each in threads)
    assert (graph.sandbox.count(), graph.sandbox.max_concurrent) == (100, MAX_CONCURRENCY)


def test_three_hundred_entities_are_one_request_of_the_router_and_three_hundred_calls(routed: Graph) -> None:
    ids = [f"many-{number}" for number in range(300)]
    for number, ident in enumerate(ids):
        routed.sandbox.store.put_thread({"id": ident, "message_count": number})
    threads = routed.data(ESCALATIONS, ids=ids)["escalations"]
    assert [(each["id"], each["messageCount"]) for each in threads] == list(zip(ids, range(300), strict=True))
    assert routed.sandbox.count() == 300


def test_one_thread_that_fails_is_null_with_its_error_and_99_are_there(routed: Graph) -> None:
    routed.sandbox.faults.add(Fault("thread", "th-150", status=500))
    answer = routed.ask(ESCALATIONS, ids=HUNDRED)
    threads = answer["data"]["escalations"]
    assert [each["id"] for each in threads if each["messageCount"] is None] == ["th-150"]
    assert len(threads) == 100
    (error,) = answer["errors"]
    assert error["path"] in (["escalations", 50], ["escalations", "messageCount"]), "Hive Gateway leaves the index out"
    assert error["extensions"]["code"] == "UPSTREAM_ERROR"
    assert error["extensions"]["upstream"] == {"status": 500, "codes": ["sandbox_500"]}
    assert error["extensions"]["serviceName"] == "gochat"
    assert routed.sandbox.count() == 100


def test_each_caller_is_the_rest_apis_caller_through_the_router(graph: Graph) -> None:
    def tags(username: str) -> list[str]:
        answer = graph.ask('{ thread(id: "th-2") { tags risk } }', headers={"authorization": basic(username)})
        found: list[str] = answer["data"]["thread"]["tags"]
        return found

    users = [USERNAME, OTHER_USER] * 4
    with ThreadPoolExecutor(len(users)) as pool:
        assert list(pool.map(tags, users)) == [[f"caller:{user}"] for user in users]
    assert {call.headers["authorization"] for call in graph.sandbox.calls} == {basic(user) for user in users}
    assert all("authorization" not in each["headers"] for each in graph.seen_by_second()), "it is none of its business"


def test_a_caller_without_credentials_is_told_so_and_the_other_subgraph_answers(routed: Graph) -> None:
    answer = routed.ask(ESCALATIONS, headers={}, ids=["th-1"])
    assert answer["data"]["escalations"] == [{"id": "th-1", "risk": "risk of th-1", "messageCount": None}]
    assert [each["extensions"]["code"] for each in answer["errors"]] == ["UNAUTHENTICATED"]
    assert routed.sandbox.count() == 0


def test_an_error_carries_the_routers_request_id(graph: Graph) -> None:
    answer = graph.ask('{ thread(id: "th-1") { id } }', headers={"x-request-id": "from-the-client"})
    assert answer["errors"][0]["extensions"]["requestId"] == "from-the-client"


def test_the_router_passes_mutations_through_once_each_and_in_their_order(graph: Graph) -> None:
    data = graph.data(
        """mutation ($message: CreateMessageInput!) {
          updateThread(input: {id: "th-3", tagCodes: ["a", "b"], idempotencyKey: "router"}) {
            outcome userErrors { code } thread { id tags risk }
          }
          createMessage(input: $message) { outcome message { content } thread { messageCount risk } }
          createChatToken(input: {externalId: "cu-1"}) { outcome token expiresAt }
        }""",
        message={"threadId": "th-3", "content": "Through the router", "setReminder": {"delay": 1}},
    )
    assert data["updateThread"]["outcome"] == "APPLIED"
    assert data["updateThread"]["thread"]["tags"][:2] == ["a", "b"]
    assert data["updateThread"]["thread"]["risk"] == "risk of th-3"
    assert data["createMessage"]["message"] == {"content": "Through the router"}
    assert data["createMessage"]["thread"]["risk"] == "risk of th-3"
    assert data["createChatToken"]["outcome"] == "APPLIED"
    posts = [call.route for call in graph.sandbox.calls if call.method == "POST"]
    assert posts == ["update_thread", "message", "chat_token"]


def send_files(graph: Graph, headers: dict[str, str]) -> dict[str, Any]:
    """Send a message with two files through the router, and return the answer."""
    document = "mutation ($input: CreateMessageInput!) { createMessage(input: $input) { outcome thread { id risk } } }"
    given = {"threadId": "th-2", "attachments": [{"upload": None}, {"name": "named.bin", "upload": None}]}
    parts: dict[str, tuple[str | None, str | bytes]] = {
        "operations": (None, json.dumps({"query": document, "variables": {"input": given}})),
        "map": (None, json.dumps({str(n): [f"variables.input.attachments.{n}.upload"] for n in range(2)})),
        "0": ("“Ü” 🪁.txt", b"the first"),
        "1": ("other.bin", bytes([7]) * 300_000),
    }
    response = graph.router.post("/graphql", files=parts, headers={"authorization": basic(USERNAME), **headers})
    answer: dict[str, Any] = response.json()
    return answer


def test_the_router_passes_files_through(graph: Graph) -> None:
    answer = send_files(graph, {"apollo-require-preflight": "true"})
    assert answer["data"]["createMessage"] == {"outcome": "APPLIED", "thread": {"id": "th-2", "risk": "risk of th-2"}}
    (call,) = [each for each in graph.sandbox.calls if each.route == "message"]
    sent = [(each["name"], base64.b64decode(each["file"])) for each in json.loads(call.body)["attachments"]]
    assert sent == [("“Ü” 🪁.txt", b"the first"), ("named.bin", bytes([7]) * 300_000)]


def test_the_router_does_not_hide_that_a_browser_sent_a_form_without_a_preflight(graph: Graph) -> None:
    answer = send_files(graph, {})
    assert [each["extensions"]["code"] for each in answer["errors"]] == ["CSRF_PREVENTED"], answer
    assert graph.sandbox.count() == 0


WATCH = "subscription ($id: ID!) { threadUpdated(id: $id) { status risk } }"


@pytest.fixture(scope="module")
def over_websocket(running: Graph) -> Iterator[httpx.Client]:
    """Run another router, which subscribes at the gateway over WebSockets."""
    with ExitStack() as stack:
        yield _start_router(stack, project("federation"), running.supergraph, "websocket.config.mjs")


def require_subscription(graph: Graph, router: httpx.Client | None = None) -> None:
    """Subscribe to a thread of the gateway, and require what the second subgraph knows of it in each result."""
    graph.sandbox.store.put_thread({"id": "watched", "status": "first"})
    with graph.watching(WATCH, router, id="watched") as results:
        assert next(results) == {"threadUpdated": {"status": "first", "risk": "risk of watched"}}
        graph.sandbox.store.put_thread({"id": "watched", "status": "second"})
        assert next(results) == {"threadUpdated": {"status": "second", "risk": "risk of watched"}}


def test_a_subscription_of_the_gateway_has_what_the_second_subgraph_knows(graph: Graph) -> None:
    opened = graph.opened("sse")
    require_subscription(graph)
    assert graph.opened("sse") == opened + 1


def test_the_router_may_subscribe_over_a_websocket(graph: Graph, over_websocket: httpx.Client) -> None:
    """The caller's credentials come in the payload of `connection_init`."""
    opened = graph.opened("websocket")
    require_subscription(graph, over_websocket)
    assert graph.opened("websocket") == opened + 1


def test_a_subscription_of_the_second_subgraph_has_what_the_gateway_knows(graph: Graph) -> None:
    document = "subscription ($ids: [ID!]!) { escalated(threads: $ids) { id risk status messageCount } }"
    with graph.watching(document, ids=["th-1", "th-101", "nowhere"]) as results:
        first, second, third = (each["escalated"] for each in results)
    assert first == {"id": "th-1", "risk": "risk of th-1", "status": "Open", "messageCount": 4}
    assert (second["id"], second["status"]) == ("th-101", 2)
    assert third == {"id": "nowhere", "risk": "risk of nowhere", "status": None, "messageCount": None}
    assert graph.sandbox.count("thread") == 3, "one call for each result"


def _has_result(line: str) -> bool:
    return line.startswith("data:") and len(line) > len("data: ")


def _data(line: str) -> Any:
    result = json.loads(line.removeprefix("data:"))
    assert "errors" not in result, result
    return result["data"]
