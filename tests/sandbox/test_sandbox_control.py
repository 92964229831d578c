import ssl
from collections.abc import Iterator

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Sandbox, sandbox_config, seed
from gateway.sandbox.rest_api.endpoints import ROUTES

THREAD = "/api/v1/thread/th-1"

# The server has no TLS, and loading the machine's certificates takes 60 ms per client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

DATA = seed()  # never changed, so all tests share it


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with (
        BackgroundServer(sandbox_config(Sandbox(DATA).app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url) as http,
    ):
        yield http


def called(client: httpx.Client) -> int:
    return client.get(THREAD, auth=(USERNAME, PASSWORD)).status_code


def test_the_index_names_every_path_and_the_login(client: httpx.Client) -> None:
    index = client.get("/")
    assert index.headers["content-type"].startswith("text/plain")
    for word in (USERNAME, PASSWORD, "/api/v1/customers", "/_sandbox/faults", "/_sandbox/release", "th-long"):
        assert word in index.text


def test_health_needs_no_login(client: httpx.Client) -> None:
    assert client.get("/_sandbox/health").json() == {"status": "ok"}


def test_calls_are_listed_by_route_and_cleared(client: httpx.Client) -> None:
    called(client)
    client.post("/api/v1/message", content=b"\xff")
    log = client.get("/_sandbox/calls").json()
    assert [(call["route"], call["status"], call["username"]) for call in log["calls"]] == [
        ("thread", 200, USERNAME),
        ("message", 401, None),
    ]
    assert (log["in_flight"], log["max_concurrent"], log["calls"][1]["body"]) == (0, 1, "\\xff")
    assert len(client.get("/_sandbox/calls?route=thread").json()["calls"]) == 1
    assert client.delete("/_sandbox/calls").status_code == 204
    assert client.get("/_sandbox/calls").json()["calls"] == []


def test_faults_are_set_listed_and_cleared(client: httpx.Client) -> None:
    faults = [
        {"route": "thread", "match": "th-1", "times": 1, "status": 503},
        {"route": "thread", "patch": {"status": {"__absent__": True}}},
    ]
    assert client.post("/_sandbox/faults", json=faults).status_code == 201
    assert client.get("/_sandbox/faults").json() == {"faults": faults}
    assert called(client) == 503
    assert "status" not in client.get(THREAD, auth=(USERNAME, PASSWORD)).json()
    assert client.delete("/_sandbox/faults").status_code == 204
    assert client.get("/_sandbox/faults").json() == {"faults": []}
    assert called(client) == 200


def test_one_fault_needs_no_list(client: httpx.Client) -> None:
    client.post("/_sandbox/faults", json={"status": 500})
    assert called(client) == 500


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"route": "threads"}', "unknown route 'threads'; allowed: "),
        (b'[{"status": 500}, {"stat": 500}]', "unknown field ['stat']; allowed: "),
        (b"{", "truncated"),
        (b"3", "a fault is a JSON object"),
    ],
)
def test_an_invalid_fault_is_refused_with_the_reason_and_none_is_set(
    client: httpx.Client, body: bytes, message: str
) -> None:
    refused = client.post("/_sandbox/faults", content=body)
    assert refused.status_code == 422
    assert message in refused.json()["error"]
    assert client.get("/_sandbox/faults").json() == {"faults": []}


def test_a_hold_is_released_by_name(client: httpx.Client) -> None:
    client.post("/_sandbox/faults", json={"hold": "a/gate"})
    assert client.post("/_sandbox/release/a%2Fgate").status_code == 204
    assert called(client) == 200
    unknown = client.post("/_sandbox/release/b")
    assert (unknown.status_code, "a/gate" in unknown.json()["error"]) == (404, True)


@pytest.mark.parametrize("route", ROUTES)
def test_a_fault_can_be_put_on_every_route(client: httpx.Client, route: str) -> None:
    assert client.post("/_sandbox/faults", json={"route": route, "status": 500}).status_code == 201
