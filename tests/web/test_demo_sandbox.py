"""The demo's page controls the sandbox, and no other gateway and no page of another site can."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.demo import SANDBOX_PATH, SandboxControls
from gateway.demo.controls import DELIVERIES, FAULTS, WEBHOOKS
from gateway.sandbox import BackgroundServer, Fault, Sandbox, Target, sandbox_config
from gateway.server.config import gateway_config
from tests.auth.issuer import eventually
from tests.harness import SERVICE, Gateway, StartGateway, settings

HEADERS = {"gateway-require-preflight": "1"}
AUTHORIZATION = "Bearer of the webhook"
THREAD = '{ thread(id: "th-1") { status messageCount } }'

slept: list[float] = []


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox that is not slow, and says how slow it would be."""

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    slept.clear()
    return Sandbox(sleep=sleep)


@pytest.fixture
def demo(servers: ExitStack, sandbox: Sandbox) -> Iterator[Gateway]:
    """A gateway with the demo's controls, whose settings allow pages of any site."""
    upstream = servers.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
    chosen = settings(
        upstream_url=upstream,
        **SERVICE,
        upstream_retries=0,
        webhook_authorization=AUTHORIZATION,
        cors_origins="*",
        csrf="off",
    )
    app = SandboxControls(create_app(chosen), sandbox)
    url = servers.enter_context(BackgroundServer(gateway_config(app))).url
    sandbox.webhooks.send_to(Target(f"{url}/webhooks/gochat", AUTHORIZATION))
    yield Gateway(servers.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30)), url)
    sandbox.webhooks.send_to(None)


def choose(demo: Gateway, **wanted: object) -> dict[str, Any]:
    response = demo.http.post(SANDBOX_PATH, json=wanted)
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()
    return state


PROVOKED: dict[str, object] = {
    "none": {"status": "Open", "messageCount": 4},
    "404": None,
    "429": "RATE_LIMITED",
    "503": "UPSTREAM_UNAVAILABLE",
    "slow": {"status": "Open", "messageCount": 4},
    "dropped": "UPSTREAM_UNAVAILABLE",
    "wrong type": "UPSTREAM_INVALID_RESPONSE",
    "drift": {"status": "Open", "messageCount": 4},
}


def test_each_fault_is_provoked_until_there_is_none(demo: Gateway, sandbox: Sandbox) -> None:
    for name in FAULTS:
        assert choose(demo, fault=name)["fault"] == name
        for _ in range(2):
            answer = demo.query(THREAD)
            codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
            assert PROVOKED[name] == (codes[0] if codes else answer["data"]["thread"]), name
        assert choose(demo, fault="none")["fault"] == "none"
        assert sandbox.faults.pending() == ()
        # After a 429 the gateway itself waits for the second that the answer named.
        eventually(lambda: demo.query(THREAD) == {"data": {"thread": PROVOKED["none"]}})
    assert slept == [3, 3], "one of them is slow"


def test_the_login_is_spared_by_every_fault(demo: Gateway, sandbox: Sandbox) -> None:
    for name in FAULTS:
        choose(demo, fault=name)
        assert {each.route for each in sandbox.faults.pending()} <= {
            *("thread", "messages", "customer"),
            *("update_thread", "message", "chat_token"),
        }


POSTS = {"ordinary": [1, 2], "doubled": [1, 1, 2, 2], "reordered": [2, 1], "lost": []}


def test_events_of_changes_are_posted_as_chosen(demo: Gateway, sandbox: Sandbox) -> None:
    for number, (name, posts) in enumerate(POSTS.items()):
        before = len(sandbox.webhooks.posted)
        assert choose(demo, delivery=name)["delivery"] == name
        for _ in range(2):
            choose(demo, change=True)
        eventually(lambda: not sandbox.webhooks.waiting)
        posted = sandbox.webhooks.posted[before:]
        assert [int(each.event["event_id"]) - 2 * number for each in posted] == posts, name
        assert all(each.status == 204 for each in posted)


def test_a_delayed_event_is_posted_later_and_the_usual_way_is_back_at_once(demo: Gateway, sandbox: Sandbox) -> None:
    state = choose(demo, delivery="delayed", change=True)
    assert (state["delivery"], sandbox.webhooks.waiting, sandbox.webhooks.posted) == ("delayed", 1, [])
    assert sandbox.webhooks.target is not None
    assert sandbox.webhooks.target.delay == 5
    assert choose(demo, delivery="ordinary")["delivery"] == "ordinary"
    choose(demo, change=True)
    eventually(lambda: sandbox.webhooks.posted)
    assert [each.event["event_id"] for each in sandbox.webhooks.posted] == ["2"]


def test_an_event_is_posted_although_nothing_changed(demo: Gateway, sandbox: Sandbox) -> None:
    for code in WEBHOOKS:
        choose(demo, webhook=code)
    eventually(lambda: len(sandbox.webhooks.posted) == len(WEBHOOKS))
    assert {each.event["event_code"] for each in sandbox.webhooks.posted} == set(WEBHOOKS)
    assert [each.status for each in sandbox.webhooks.posted] == [204] * 3
    assert demo.data(THREAD)["thread"] == PROVOKED["none"]


def test_the_state_has_all_choices_and_those_in_force(demo: Gateway, sandbox: Sandbox) -> None:
    state = demo.http.get(SANDBOX_PATH, headers=HEADERS).json()
    assert (state["fault"], state["delivery"]) == ("none", "ordinary")
    for listed, known in (("faults", FAULTS), ("deliveries", DELIVERIES), ("webhooks", WEBHOOKS)):
        assert [each["name"] for each in state[listed]] == list(known)
        assert all(each["says"].endswith(".") for each in state[listed])
    sandbox.faults.add(Fault("thread", status=500))
    sandbox.webhooks.send_to(None)
    state = demo.http.get(SANDBOX_PATH, headers=HEADERS).json()
    assert (state["fault"], state["delivery"]) == (None, None), "they were not chosen on the page"


WRONG = {
    '{"fault": "500"}': "unknown fault '500'; allowed: none, 404, 429",
    '{"delivery": "never"}': "unknown delivery 'never'; allowed: ordinary, doubled",
    '{"webhook": "deleted"}': "unknown webhook 'deleted'; allowed: thread_updated",
    '{"fault": 404}': "Expected `str | null`, got `int` - at `$.fault`",
    '{"faults": "404"}': "unknown field `faults`",
    "[]": "Expected `object`",
    "": "Input data was truncated",
    '{"fault": "' + 2000 * "4" + '"}': "the body has more than 1024 bytes",
}


def test_a_wrong_choice_is_refused_and_changes_nothing(demo: Gateway, sandbox: Sandbox) -> None:
    for body, problem in WRONG.items():
        response = demo.http.post(SANDBOX_PATH, content=body, headers=HEADERS)
        assert response.status_code == 422
        assert problem in response.json()["error"]
    assert sandbox.faults.pending() == ()


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"content-type": "text/plain"},
    {"origin": "https://elsewhere.example", "content-type": "text/plain"},
)


def test_a_page_of_another_site_cannot_send_what_changes_the_sandbox(demo: Gateway, sandbox: Sandbox) -> None:
    """It can only send a request of which the browser asks first; then the answer allows nothing."""
    for method, headers in product(("POST", "GET"), FOREIGN):
        response = demo.http.request(method, SANDBOX_PATH, content='{"fault": "503"}', headers=headers)
        assert response.status_code == 403
    asked = {
        "origin": "https://elsewhere.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "gateway-require-preflight",
    }
    preflight = demo.http.options(SANDBOX_PATH, headers=asked)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    assert demo.http.options("/graphql", headers=asked).headers["access-control-allow-origin"] == "*"
    assert sandbox.faults.pending() == ()


def test_no_other_gateway_has_the_path(start: StartGateway) -> None:
    gateway = start(graphiql=True, explain=True, mutations=True, webhook_authorization=AUTHORIZATION)
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        response = gateway.http.request(method, SANDBOX_PATH, json={"fault": "503"}, headers=HEADERS)
        assert response.status_code == 404
    page = gateway.http.get("/graphql", headers={"accept": "text/html"}).text
    assert 'data-sandbox=""' in page
    assert SANDBOX_PATH not in page
