"""What is read after a write is never older than the write, whatever became of it."""

import threading
from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.upstream.redis_server import RedisServer
from tests.writes.documents import send, update

TAGS = '{ thread(id: "th-1") { tags messageCount messages { totalCount } } }'


def tags(gateway: Gateway) -> Any:
    return gateway.data(TAGS)["thread"]["tags"]


@pytest.fixture
def gateway(start: StartGateway, redis: RedisServer | None) -> Gateway:
    cache = (
        {"cache_url": "memory://"}
        if redis is None
        else {"cache_url": redis.url, "cache_secret": "a secret of tests", "cache_timeout": 5}
    )
    times = {"cache_ttl_thread": 60, "cache_ttl_messages": 60, "cache_stale_while_revalidate": 60}
    return start(mutations=True, **cache, **times)


@pytest.mark.parametrize("fault", [None, {"drop": "before", "carry_out": True}, {"status": 502, "carry_out": True}])
def test_a_cached_thread_is_read_again(gateway: Gateway, sandbox: Sandbox, fault: dict[str, Any] | None) -> None:
    old = gateway.data(TAGS)["thread"]
    if fault is not None:
        sandbox.faults.add(Fault("update_thread", **fault), Fault("message", **fault))
    update(gateway, tagCodes=["new"], comment="never comparable")
    assert tags(gateway) == ["new"]
    send(gateway)
    new = gateway.data(TAGS)["thread"]
    assert new["messageCount"] == old["messageCount"] + 1
    assert new["messages"]["totalCount"] == old["messages"]["totalCount"] + 1


def test_a_read_that_is_under_way_is_not_joined_after_a_write(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True)
    sandbox.faults.add(Fault("thread", times=1, carry_out=True, hold="gate"))
    before: list[Any] = []
    early = threading.Thread(target=lambda: before.append(tags(gateway)))
    early.start()
    sandbox.wait_for_calls(1, route="thread")
    # A comment is not compared, so that nothing is read before the write.
    assert update(gateway, tagCodes=["new"], comment="Hello")["outcome"] == "APPLIED"
    assert tags(gateway) == ["new"]
    sandbox.release("gate")
    early.join()
    assert before != [["new"]]


def test_a_read_back_joins_no_read_that_began_before_its_write(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, carry_out=True, hold="gate"))
    before: list[Any] = []
    early = threading.Thread(target=lambda: before.append(tags(gateway)))
    early.start()
    sandbox.wait_for_calls(1, route="thread")
    sandbox.faults.add(Fault("message", times=1, drop="before", carry_out=True))
    answer = send(gateway, content="Hello")
    assert (answer["outcome"], answer["message"]["content"]) == ("APPLIED", "Hello")
    sandbox.release("gate")
    early.join()


def test_the_thread_in_the_answer_is_the_one_after_the_write(gateway: Gateway) -> None:
    document = """
    mutation {
      a: updateThread(input: {id: "th-1", tagCodes: ["a"]}) { thread { tags messages { totalCount } } }
      b: createMessage(input: {threadId: "th-1"}) { thread { tags messages { totalCount } } }
      c: updateThread(input: {id: "th-1", tagCodes: ["c"]}) { thread { tags messages { totalCount } } }
    }
    """
    first = gateway.data(TAGS)["thread"]["messages"]["totalCount"]
    data = gateway.data(document)
    assert [(data[key]["thread"]["tags"], data[key]["thread"]["messages"]["totalCount"]) for key in "abc"] == [
        (["a"], first),
        (["a"], first + 1),
        (["c"], first + 1),
    ]


def test_a_read_back_passes_the_cache_by(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.data(TAGS)
    sandbox.faults.add(Fault("update_thread", times=1, drop="before", carry_out=True))
    answer = update(gateway, tagCodes=["new"])
    assert (answer["outcome"], answer["thread"]["tags"]) == ("APPLIED", ["new"])
