"""No caller ever gets another's data: a property test over callers, ids, faults and timing."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from gateway.auth import Viewer
from gateway.errors import GatewayError
from gateway.http1 import Response
from gateway.sandbox import Accounts, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.upstream.call import ResponseOrigin, RestRequest, Transport
from gateway.upstream.client import UpstreamClient
from gateway.upstream.transports.coalescing import Coalescing
from tests.harness import Clock, build_client, connections, settings
from tests.upstream.cached import Answer, Cached, ask, basic, new_store
from tests.upstream.redis_server import RedisServer

USERS = {f"user{number}@sandbox.example": f"password-{number}" for number in range(3)}
KINDS = ("bearer", "other bearer", "basic", "revoked")
IDS = {"thread": ("th-1", "th-100", "nowhere"), "customer": ("cu-1", "cu-2", "nobody")}


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    kind: str
    route: str
    ident: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the faults that begin, the calls made at the same time, and the seconds that pass afterwards."""

    faults: list[dict[str, Any]]
    questions: list[Question]
    passes: float


QUESTIONS = st.one_of(
    *(
        st.builds(Question, st.sampled_from(list(USERS)), st.sampled_from(KINDS), st.just(route), st.sampled_from(ids))
        for route, ids in IDS.items()
    )
)
FAULTS = st.builds(
    lambda fault, match, times: {**fault, "match": match, "times": times},
    st.sampled_from(
        [
            *({"status": status} for status in (401, 403, 404, 500, 503)),
            *({"drop": drop} for drop in ("before", "mid-body")),
            {"body": '{"id": "th-'},
            {"hold": "step"},
            {"hold": "step", "status": 503},
        ]
    ),
    st.sampled_from([None, "th-1", "cu-1"]),
    st.integers(1, 3),
)
STEPS = st.lists(
    st.builds(
        Step,
        st.lists(FAULTS, max_size=2),
        st.lists(QUESTIONS, min_size=1, max_size=10),
        st.sampled_from([0, 1, 6, 50, 200]),
    ),
    min_size=1,
    max_size=4,
)


class World:
    """A sandbox whose responses name the caller, and the credentials of its users."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox = sandbox
        self.url = url
        self.viewers: dict[tuple[str, str], Viewer] = {}
        for user in USERS.items():
            self.viewers[user[0], "basic"] = Viewer(basic(*user))
            self.viewers[user[0], "revoked"] = Viewer(f"Bearer no-token-of-{user[0]}")
            for kind in ("bearer", "other bearer"):
                self.viewers[user[0], kind] = Viewer(f"Bearer {sandbox.accounts.issue(*user)['access_token']}")

    def live(self, build: Callable[[Clock], UpstreamClient], steps: list[Step]) -> None:
        """Run the steps with a new client; AssertionError if a caller gets another's response."""
        self.sandbox.clear()
        try:
            asyncio.run(self._live(build, steps))
        finally:
            self.sandbox.faults.clear()

    async def _live(self, build: Callable[[Clock], UpstreamClient], steps: list[Step]) -> None:
        clock = Clock()
        async with build(clock) as client:
            for step in steps:
                self.sandbox.faults.add(Fault("token", hold="step"), *(Fault(**f) for f in step.faults))
                asked = [asyncio.create_task(self._ask(client, question)) for question in step.questions]
                for _ in range(20):
                    await asyncio.sleep(0)  # every call is sent, or shares one that is
                self.sandbox.release("step")
                await asyncio.gather(*asked)
                self.sandbox.faults.clear()
                clock.now += step.passes

    async def _ask(self, client: UpstreamClient, question: Question) -> None:
        viewer = self.viewers[question.name, question.kind]
        status: int | None = None
        try:
            answer = await ask(client, question.ident, route=question.route, viewer=viewer)
        except GatewayError as exc:
            status = exc.upstream.status if exc.upstream is not None else None
        except json.JSONDecodeError:
            status = 200
        else:
            self._check(question, viewer, answer)
        assert status is None or self._was_answered(viewer, status), f"{question}: a failure of another caller"

    def _check(self, question: Question, viewer: Viewer, answer: Answer) -> None:
        if answer.body is None:
            assert self._was_answered(viewer, 404), f"{question}: a 404 of another caller"
            return
        assert question.kind != "revoked", f"{question}: a response without a valid credential"
        if question.route == "thread":
            ident, owner = answer.body["id"], answer.body["tags"][-1]
        else:
            ident, owner = answer.body["customer"]["external_id"], answer.body["customer"]["comment"]
        assert (ident, owner) == (question.ident, f"caller:{question.name}"), f"{question}: got {ident}, {owner}"

    def _was_answered(self, viewer: Viewer, status: int) -> bool:
        """Whether the REST API gave such a response to this credential."""
        return any(
            call.status == status and call.headers.get("authorization") == viewer.authorization
            for call in self.sandbox.calls
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    sandbox = Sandbox(accounts=Accounts(USERS), echo_caller=True)
    with BackgroundServer(sandbox_config(sandbox.app)) as server:
        yield World(sandbox, server.url)


def quiet(examples: int) -> rules:
    return rules(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.slow  # it sends thousands of requests
@given(steps=STEPS)
@quiet(30)
def test_every_response_and_every_error_belongs_to_its_caller(
    world: World, redis: RedisServer | None, steps: list[Step]
) -> None:
    def build(clock: Clock) -> UpstreamClient:
        place = {"cache_url": redis.url, "cache_timeout": 5} if redis else {"cache_url": "memory://"}
        place["cache_secret"] = secrets.token_hex()
        windows = {"cache_stale_while_revalidate": 5, "cache_stale_if_error": 100}
        rest = {"upstream_url": world.url, "upstream_identity": "passthrough", "breaker_min_volume": 10_000}
        return build_client(settings(**rest, **place, **windows), timing=clock.timing)

    world.live(build, steps)


async def test_five_hundred_calls_for_one_thread_are_one_call_per_credential(
    world: World, clock: Clock, redis: RedisServer | None
) -> None:
    world.sandbox.clear()
    world.sandbox.faults.add(Fault("thread", hold="all"))
    callers = [each for each in world.viewers if each[1] != "revoked"][:5]
    async with Cached(world.url, new_store(redis, clock), clock) as client:
        asked = [asyncio.create_task(ask(client, viewer=world.viewers[each])) for _ in range(100) for each in callers]
        await asyncio.to_thread(world.sandbox.wait_for_calls, 5)
        world.sandbox.release("all")
        answers = await asyncio.gather(*asked)
        world.sandbox.faults.clear()
        again = await asyncio.gather(*(ask(client, viewer=world.viewers[each]) for each in callers))
    assert world.sandbox.count() == 5
    for number, each in enumerate(answers):
        assert each.body["tags"][-1] == f"caller:{callers[number % 5][0]}"
    assert {each.origin for each in again} == {ResponseOrigin.CACHED}
    assert [each.body["tags"][-1] for each in again] == [f"caller:{name}" for name, _kind in callers]


# the tests above find such mistakes


HIDDEN = ContextVar("HIDDEN", default="")


class Hidden:
    """A mistake on purpose: the layers down to `Shown` do not see the credential."""

    def __init__(self, following: Transport) -> None:
        self._following = following

    async def send(self, request: RestRequest) -> Response:
        HIDDEN.set(request.authorization or "")
        return await self._following.send(request.with_credential(""))

    async def aclose(self) -> None:
        await self._following.aclose()


class Shown(Hidden):
    """Restores the credential."""

    async def send(self, request: RestRequest) -> Response:
        return await self._following.send(request.with_credential(HIDDEN.get()))


@pytest.mark.parametrize("layer", ["coalescing", "cache"])
def test_the_property_test_finds_a_layer_that_ignores_the_credential(world: World, layer: str) -> None:
    def build(clock: Clock) -> UpstreamClient:
        careful: Transport = Shown(connections(world.url))
        if layer == "coalescing":
            careless: Transport = Coalescing(careful)
        else:
            careless = Cached(world.url, new_store(None, clock), clock, following=careful).cache
        return UpstreamClient(Hidden(careless))

    def goes_wrong(steps: list[Step]) -> bool:
        try:
            world.live(build, steps)
        except AssertionError:
            return True
        return False

    # Shrinking the example would take long, and its content does not matter.
    assert find(STEPS, goes_wrong, settings=rules(quiet(200), phases=[Phase.generate], derandomize=True))
