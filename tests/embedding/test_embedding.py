"""The examples of docs/embedding.md: our fields beside another source's, inside another application."""

import asyncio
import re
import runpy
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn

from gateway.app import create_app
from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox
from gateway.schema import FederatedSchema, GatewayInfo, Query, build_schema
from gateway.server.config import gateway_config
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings

HERE = Path(__file__).parent
BOTH = """query ($id: ID!) {
  thread(id: "th-1") { id messages(first: 1) { nodes { id } } }
  orders(externalId: $id) { number article }
}"""


def client_of(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, auth=(USERNAME, PASSWORD), verify=NO_CERTIFICATES, trust_env=False, timeout=30)


@pytest.fixture(params=["with_starlette", "with_fastapi"])
def embedded(
    request: pytest.FixtureRequest,
    servers: ExitStack,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """Start the example's application, and return its address."""
    monkeypatch.setenv("GATEWAY_UPSTREAM_URL", upstream)
    monkeypatch.setenv("GATEWAY_GRAPHIQL", "true")
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # each application has a gateway of its own
    app = runpy.run_path(str(HERE / f"{request.param}.py"))["app"]
    return servers.enter_context(BackgroundServer(uvicorn.Config(app, log_config=None, lifespan="on"))).url


def test_the_host_answers_its_own_routes_and_the_gateway_below_its_prefix(embedded: str) -> None:
    with client_of(embedded) as client:
        assert "The shop" in client.get("/").text
        answer = client.post("/support/graphql", json={"query": BOTH, "variables": {"id": "cu-1"}})
        assert answer.json() == {
            "data": {
                "thread": {"id": "th-1", "messages": {"nodes": [{"id": "th-1-m1"}]}},
                "orders": [{"number": "A-17", "article": "A kite"}, {"number": "A-18", "article": "String"}],
            }
        }
        assert answer.headers["x-request-id"]
        assert client.get("/support/health").status_code == 200
        assert client.get("/support/ready").status_code == 200


def test_graphiql_works_below_a_prefix(embedded: str) -> None:
    with client_of(embedded) as client:
        page = client.get("/support/graphql", headers={"accept": "text/html"})
        assert page.status_code == 200
        scripts = re.findall(r'src="(graphiql/assets/[^"]+)"', page.text)
        assert scripts
        for each in scripts:
            assert client.get(f"/support/{each}").status_code == 200


def test_a_post_to_the_prefix_itself_is_no_request_for_the_gateway(embedded: str) -> None:
    """Starlette's Mount redirects from /support to /support/; the page says which address is the right one."""
    with client_of(embedded) as client:
        assert client.post("/support", json={"query": "{ __typename }"}).status_code in {307, 404}


@pytest.fixture
def serve(servers: ExitStack, upstream: str) -> Callable[..., Gateway]:
    """Start a gateway with this schema."""

    def started(schema: FederatedSchema, **overrides: Any) -> Gateway:
        app = create_app(settings(**{"upstream_url": upstream, **SERVICE, **overrides}), schema=schema)
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        return Gateway(servers.enter_context(client), url)

    return started


@strawberry.type
class Weather:
    """An object of another source, with attributes and not with keys."""

    place: str
    degrees: float | None = None

    @strawberry.field
    def wind(self) -> str:
        return f"none in {self.place}"


@strawberry.type
class Unused:
    name: str


@strawberry.type(name="Query")
class Wider(Query):
    @strawberry.field
    async def weather(self, info: GatewayInfo, place: str) -> Weather | None:
        if place == "nowhere":
            raise ValueError(f"secret of {info.context.viewer.caller}")
        return None if place == "" else Weather(place=place, degrees=12.5)

    @strawberry.field
    async def slow(self) -> list[Weather]:
        await asyncio.sleep(0)
        return [Weather(place="Vaduz")]


WIDER = build_schema(query=Wider, types=[Unused])
WEATHER = '{ weather(place: "Vaduz") { place degrees wind } thread(id: "th-1") { status } }'


def test_a_field_of_another_source_stands_beside_ours(serve: Callable[..., Gateway]) -> None:
    weather = {"place": "Vaduz", "degrees": 12.5, "wind": "none in Vaduz"}
    assert serve(WIDER).data(WEATHER) == {"weather": weather, "thread": {"status": "Open"}}


def test_each_source_fails_by_itself(serve: Callable[..., Gateway], sandbox: Sandbox) -> None:
    gateway = serve(WIDER)
    answer = gateway.query('{ weather(place: "nowhere") { place } thread(id: "th-1") { status } }')
    assert answer["data"] == {"weather": None, "thread": {"status": "Open"}}
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["weather"], "INTERNAL_ERROR")
    assert "secret" not in str(answer)
    sandbox.faults.add(Fault("thread", status=403))
    answer = gateway.query(WEATHER)
    assert answer["data"]["weather"]["place"] == "Vaduz"
    assert answer["data"]["thread"] is None


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "enums.json"
    path.write_text('{"ThreadStatus": {"Open": "Opened"}}')
    return path


def test_the_settings_decide_about_a_schema_of_ones_own(serve: Callable[..., Gateway], names: Path) -> None:
    gateway = serve(WIDER, enums=names, incremental=True, max_depth=3, plans=False)
    assert gateway.data('{ thread(id: "th-1") { status } slow { place } }') == {
        "thread": {"status": "Opened"},
        "slow": [{"place": "Vaduz"}],
    }
    shown = gateway.data("{ __schema { directives { name } } }")["__schema"]["directives"]
    assert {"defer", "stream"} <= {each["name"] for each in shown}
    assert gateway.code("{ thread(id: 1) { lastMessage { attachments { attachmentMovements { total } } } } }") == (
        "MAX_DEPTH_LIMIT"
    )


def test_a_field_of_another_source_costs_no_rest_call(serve: Callable[..., Gateway], sandbox: Sandbox) -> None:
    response = serve(WIDER).http.post("/graphql", json={"query": '{ weather(place: "Vaduz") { place } }'})
    assert response.headers["gateway-cost"] == "predicted=0, made=0"
    assert sandbox.count("thread") == 0


def test_further_types_are_in_the_schema_and_in_what_a_router_gets(serve: Callable[..., Gateway]) -> None:
    gateway = serve(WIDER)
    sdl = gateway.data("{ _service { sdl } }")["_service"]["sdl"]
    for line in ("type Unused {", "type Weather {", "weather(place: String!): Weather", "type Thread "):
        assert line in sdl
    assert gateway.data(
        "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Thread { status } } }",
        r=[{"__typename": "Thread", "id": "th-1"}],
    ) == {"_entities": [{"status": "Open"}]}
