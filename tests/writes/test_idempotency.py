"""The same key gets the first answer again, and nothing is sent twice."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_client

from gateway.errors import IdempotencyUnavailable
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.storage.redis import RedisConnection
from gateway.telemetry import Counts
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyedWrite, KeyMemory, Subject
from gateway.upstream.writes.outcome import Answer, ChatToken, Outcome
from tests.harness import Clock, Gateway, StartGateway
from tests.programs import until
from tests.upstream.redis_server import RedisServer
from tests.writes.conftest import SECOND
from tests.writes.documents import SEND, TOKEN, UPDATE, ask, send, token, update, writes

DAY = 86_400
Start = Callable[..., Gateway]


@pytest.fixture(params=["memory", "redis"])
def begin_keyed(request: pytest.FixtureRequest, start: StartGateway) -> Start:
    """Start a gateway that takes keys, with either store."""

    def begin(**options: Any) -> Gateway:
        if request.param == "redis":
            server: RedisServer = request.getfixturevalue("server")
            options = {"cache_url": server.url, "cache_secret": "a secret of the tests", "cache_timeout": 5, **options}
        return start(mutations=True, **options)

    return begin


def test_the_same_key_gets_the_first_answer_again(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    for run, given in ((update, {"tagCodes": ["a"]}), (send, {"content": "Hello"})):
        first = run(gateway, idempotencyKey=run.__name__, **given)
        assert first["outcome"] == "APPLIED"
        assert [run(gateway, idempotencyKey=run.__name__, **given) for _ in range(3)] == [first] * 3
    assert writes(sandbox) == 2


def test_of_a_token_only_the_fact_is_kept(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    first, again = (token(gateway, externalId="cu-1", idempotencyKey="k") for _ in range(2))
    assert (first["outcome"], again["outcome"]) == ("APPLIED", "APPLIED")
    assert first["token"]
    assert (again["token"], again["expiresAt"]) == (None, None)
    assert writes(sandbox) == 1


def test_other_input_under_the_same_key_is_refused(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    update(gateway, tagCodes=["a"], idempotencyKey="k")
    for document, given in (
        (UPDATE, {"id": "th-1", "tagCodes": ["b"]}),
        (UPDATE, {"id": "th-2", "tagCodes": ["a"]}),
        (SEND, {"threadId": "th-1"}),
        (TOKEN, {}),
    ):
        assert gateway.code(document, input={**given, "idempotencyKey": "k"}) == "IDEMPOTENCY_MISMATCH"
    assert writes(sandbox) == 1


def test_a_refusal_is_an_answer_too(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    first, again = (send(gateway, to="nobody@nowhere.example", idempotencyKey="k") for _ in range(2))
    assert first["outcome"] == "NOT_APPLIED"
    assert again == first
    assert writes(sandbox) == 1


def test_unknown_stays_the_answer_and_is_asked_for_otherwise(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.store.outbox_delay = 60
    sandbox.faults.add(Fault("message", times=1, drop="before", carry_out=True))
    for _ in range(2):
        assert send(gateway, content="Hello", idempotencyKey="k")["outcome"] == "UNKNOWN"
    assert ask(gateway, "k") == {"outcome": "UNKNOWN", "message": None, "thread": {"id": "th-1"}}
    sandbox.store.empty_outbox()
    assert ask(gateway, "k") == {"outcome": "APPLIED", "message": {"content": "Hello"}, "thread": {"id": "th-1"}}
    assert writes(sandbox) == 1


def test_the_outcome_of_a_message_is_known_at_once_where_it_was_answered(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.store.outbox_delay = 60
    send(gateway, content="Hello", idempotencyKey="k")
    send(gateway, to="nobody@nowhere.example", idempotencyKey="refused")
    assert ask(gateway, "k")["outcome"] == "APPLIED"
    assert ask(gateway, "refused")["outcome"] == "NOT_APPLIED"
    assert ask(gateway, "k", thread="th-2")["outcome"] == "UNKNOWN"
    assert ask(gateway, "another")["outcome"] == "UNKNOWN"


def test_a_key_can_be_used_again_if_nothing_was_written(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.faults.add(Fault("update_thread", times=1, status=403))
    assert gateway.code(UPDATE, input={"id": "th-1", "tagCodes": ["a"], "idempotencyKey": "k"}) == "FORBIDDEN"
    assert update(gateway, tagCodes=["a"], idempotencyKey="k")["outcome"] == "APPLIED"


def test_who_comes_meanwhile_waits_for_the_same_answer(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.faults.add(Fault("message", hold="gate"))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(send(gateway, content="Hello", idempotencyKey="k")))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    sandbox.wait_for_calls(1, route="message")
    sandbox.release("gate")
    for thread in threads:
        thread.join()
    assert [answer["outcome"] for answer in answers] == ["APPLIED"] * 5
    assert writes(sandbox) == 1


def sets(server: RedisServer) -> int:
    """Return how often Redis was asked to keep something; a key is claimed in this way."""
    with redis_client.Redis.from_url(server.url) as client:
        stats: Any = client.info("commandstats")
        return int(stats["cmdstat_set"]["calls"])


def test_who_comes_meanwhile_to_another_gateway_waits_as_well(
    start: StartGateway, sandbox: Sandbox, server: RedisServer
) -> None:
    options = {"cache_url": server.url, "cache_secret": "a secret of the tests", "cache_timeout": 5, "instances": 2}
    first, second = (start(mutations=True, workers=2, **options) for _ in range(2))
    sandbox.faults.add(Fault("chat_token", hold="gate"))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(token, first, externalId="cu-1", idempotencyKey="k")]
        sandbox.wait_for_calls(1, route="chat_token")
        before = sets(server)
        answers.append(pool.submit(token, second, externalId="cu-1", idempotencyKey="k"))
        until(lambda: sets(server) >= before + 2, "the second gateway has asked for the key twice, so it waits")
        sandbox.release("gate")
    told, again = (answer.result() for answer in answers)
    assert (told["outcome"], again["outcome"]) == ("APPLIED", "APPLIED")
    assert told["token"]
    assert again["token"] is None
    assert writes(sandbox) == 1


def test_who_waits_takes_over_if_nothing_was_written(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.faults.add(Fault("message", times=1, hold="gate", status=403))
    outcomes: list[Any] = []
    given = {"threadId": "th-1", "content": "Hello", "idempotencyKey": "k"}

    def run() -> None:
        answer = gateway.query(SEND, input=given)
        outcomes.append((answer["data"]["createMessage"] or {}).get("outcome"))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    sandbox.wait_for_calls(1, route="message")
    sandbox.release("gate")
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == ["APPLIED", "APPLIED", None]
    assert sandbox.count("message") == 2


def test_who_cannot_wait_any_longer_gets_unknown(begin_keyed: Start, sandbox: Sandbox) -> None:
    gateway = begin_keyed()
    sandbox.faults.add(Fault("update_thread", hold="gate"))
    first = threading.Thread(target=lambda: update(gateway, tagCodes=["a"], idempotencyKey="k"))
    first.start()
    sandbox.wait_for_calls(1, route="update_thread")
    gateway.http.headers["gateway-timeout"] = "1"
    assert update(gateway, tagCodes=["a"], idempotencyKey="k")["outcome"] == "UNKNOWN"
    sandbox.release("gate")
    first.join()
    assert writes(sandbox) == 1


def test_keys_of_two_callers_have_nothing_in_common(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough", inbound_auth=None, mutations=True)
    for auth in ((USERNAME, PASSWORD), SECOND):
        gateway.http.auth = auth
        assert send(gateway, content=auth[0], idempotencyKey="k")["outcome"] == "APPLIED"
        assert ask(gateway, "k")["message"] == {"content": auth[0]}
    assert writes(sandbox) == 2


def test_a_key_is_forgotten_after_a_day(start: StartGateway, sandbox: Sandbox, clock: Clock) -> None:
    gateway = start(mutations=True, timing=clock.timing)
    for later, sent in ((0, 1), (DAY - 1, 1), (1, 2)):
        clock.now += later
        update(gateway, tagCodes=["a"], idempotencyKey="k")
        assert writes(sandbox) == sent


@pytest.mark.parametrize("options", [{"workers": 2}, {"instances": 2}])
def test_several_workers_or_gateways_without_redis_take_no_keys(
    start: StartGateway, sandbox: Sandbox, options: dict[str, int]
) -> None:
    gateway = start(mutations=True, **options)
    for document, given in ((UPDATE, {"id": "th-1"}), (SEND, {}), (TOKEN, {})):
        assert gateway.code(document, input={**given, "idempotencyKey": "k"}) == "IDEMPOTENCY_UNAVAILABLE"
    assert gateway.code('{ messageOutcome(threadId: "th-1", idempotencyKey: "k") { outcome } }') == (
        "IDEMPOTENCY_UNAVAILABLE"
    )
    assert writes(sandbox) == 0
    assert update(gateway)["outcome"] == "APPLIED"


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_none_is_refused(start: StartGateway, sandbox: Sandbox, key: str) -> None:
    gateway = start(mutations=True)
    (error,) = gateway.query(UPDATE, input={"id": "th-1", "idempotencyKey": key})["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"] == "`idempotencyKey` must have 1 to 255 characters."
    assert writes(sandbox) == 0


def test_a_redis_that_does_not_respond_refuses_keys(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True, cache_url="redis://127.0.0.1:1", cache_secret="a secret of the tests")
    given = {"id": "th-1", "tagCodes": ["a"]}
    assert gateway.code(UPDATE, input={**given, "idempotencyKey": "k"}) == "IDEMPOTENCY_UNAVAILABLE"
    assert writes(sandbox) == 0
    assert update(gateway, tagCodes=["a"])["outcome"] == "APPLIED"


class LosesReply(KeyMemory):
    """Keeps what is claimed first, and does not say so."""

    claims = 0

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        self.claims += 1
        found = await super().claim(key, value, lifetime)
        return None if self.claims == 1 else found


KEYED = KeyedWrite("k", Subject("caller", "createMessage", "th-1"), b"{}")


class Sends:
    """Applies a write, and counts how often."""

    times = 0

    async def __call__(self) -> Answer:
        self.times += 1
        return Answer(Outcome.APPLIED)


async def test_a_claim_whose_reply_is_lost_leaves_the_key_free(clock: Clock) -> None:
    memory, work = LosesReply(clock), Sends()
    keys = IdempotencyKeys(memory, b"a secret of the tests", clock.timing)

    async def read_back() -> Answer:
        return Answer(Outcome.UNKNOWN)

    with pytest.raises(IdempotencyUnavailable):
        await keys.perform(KEYED, 10, work, read_back)
    assert work.times == 0
    assert (await keys.perform(KEYED, 10, work, read_back)).outcome is Outcome.APPLIED
    assert work.times == 1


async def test_a_claim_whose_reply_is_lost_takes_no_key_from_the_write_that_has_it(clock: Clock) -> None:
    memory, work = LosesReply(clock), Sends()
    keys = IdempotencyKeys(memory, b"a secret of the tests", clock.timing)
    memory.claims = 1
    await keys.perform(KEYED, 10, work, work)
    memory.claims = 0
    with pytest.raises(IdempotencyUnavailable) as caught:
        await keys.perform(KEYED, 10, work, work)
    assert str(caught.value) == "Idempotency keys cannot be kept now. Nothing was sent."
    assert caught.value.retry_after == 1
    assert (await keys.perform(KEYED, 10, work, work)).outcome is Outcome.APPLIED
    assert work.times == 1


async def test_redis_forgets_a_key_only_where_it_has_the_value(server: RedisServer) -> None:
    connection = RedisConnection(server.url, 5, Counts())
    store = connection.store("idempotency")
    assert await store.claim("a key of this test", b"1", 60) == b"1"
    await store.delete("a key of this test", b"2")
    assert await store.get(["a key of this test"]) == [b"1"]
    await store.delete("a key of this test", b"1")
    assert await store.get(["a key of this test"]) == [None]
    await connection.aclose()


async def test_memory_refuses_new_keys_once_it_is_full(clock: Clock) -> None:
    memory = KeyMemory(clock, most=2)
    assert await memory.claim("a", b"1", 10) == b"1"
    clock.now += 5
    assert await memory.claim("b", b"1", 10) == b"1"
    assert await memory.claim("c", b"1", 10) is None
    assert await memory.claim("a", b"2", 10) == b"1"
    await memory.set("a", b"3", 10)
    clock.now += 5
    assert await memory.get(["a", "b"]) == [None, b"1"]
    assert await memory.claim("c", b"1", 10) == b"1"


async def test_a_write_whose_worker_died_is_read_back_and_never_sent_again(clock: Clock) -> None:
    memory = KeyMemory(clock)
    keys = IdempotencyKeys(memory, b"a secret of the tests", clock.timing)
    write = KeyedWrite("k", Subject("caller", "createMessage", "th-1"), b"{}")
    calls: list[str] = []

    async def dies() -> Answer:
        calls.append("sent")
        raise asyncio.CancelledError

    async def read_back() -> Answer:
        calls.append("read back")
        return Answer(Outcome.APPLIED)

    with pytest.raises(asyncio.CancelledError):
        await keys.perform(write, 10, dies, read_back)
    for _ in range(2):
        assert (await keys.perform(write, 10, dies, read_back)).outcome is Outcome.APPLIED
    assert calls == ["sent", "read back"]
    assert sum(clock.slept) == pytest.approx(15, abs=0.1)  # the write's own time, and some grace


async def test_a_store_holds_no_text_of_a_caller(clock: Clock) -> None:
    memory = KeyMemory(clock)
    keys = IdempotencyKeys(memory, b"a secret of the tests", clock.timing)
    write = KeyedWrite("secret-key", Subject("secret-caller", "updateThread", "secret-thread"), b"secret-content")

    async def work() -> Answer:
        return Answer(Outcome.APPLIED, token=ChatToken("secret-token", 1))

    await keys.perform(write, 10, work, work)
    assert "secret" not in repr(memory.__dict__)


async def test_each_message_of_each_caller_has_an_id_of_its_own(clock: Clock) -> None:
    """A message is found again by its id: with another's, the wrong one would be taken for it."""
    keys, others = (IdempotencyKeys(KeyMemory(clock), secret) for secret in (b"a secret of the tests", b"another"))
    assert keys.ext_msg_id("a", "b", "k") == keys.ext_msg_id("a", "b", "k")
    given = [("a", "b", "k"), ("a", "b", "l"), ("a", "bk", "k"), ("ab", "", "k"), ("c", "b", "k"), ("a", "b", None)]
    ids = {store.ext_msg_id(*each) for each in given for store in (keys, others)}
    assert len(ids) == 2 * len(given), "who knows no secret cannot tell which id a message gets"


async def test_who_cannot_wait_leaves_the_key_to_the_write_that_is_under_way(clock: Clock) -> None:
    keys = IdempotencyKeys(KeyMemory(clock), b"a secret of the tests", clock.timing)
    write = KeyedWrite("k", Subject("caller", "createMessage", "th-1"), b"{}")
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work() -> Answer:
        begun.set()
        await gate.wait()
        return Answer(Outcome.APPLIED)

    async def read_back() -> Answer:
        return Answer(Outcome.UNKNOWN)

    first = asyncio.create_task(keys.perform(write, 10, work, read_back))
    await begun.wait()
    assert (await keys.perform(write, 0, work, read_back)).outcome is Outcome.UNKNOWN
    assert await keys.outcome(write.subject, "k") is None, "who asks later waits for the answer of the first"
    gate.set()
    assert (await first).outcome is Outcome.APPLIED
