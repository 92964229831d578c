"""Large REST bodies are processed cooperatively: other operations run meanwhile, and nothing of them is kept."""

import asyncio
import gc
from collections.abc import Iterator

import msgspec
import pytest

from gateway.execution.operation import Operation
from gateway.http1 import Response
from gateway.schema.resolvers.cooperative import LARGE_BYTES, LongList, decode_cooperatively, run_cooperatively
from gateway.schema.resolvers.records import RestBody
from tests.bench.shapes import BIG, thread
from tests.execution.comparison import engine, run
from tests.harness import rest_response

BODY = thread("large", attachments=2_000, movements=5, customers=500)
OPERATION = Operation(BIG.query, None, {"id": "large"})


def answer(_target: str) -> Response:
    return rest_response(200, BODY)


@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
async def test_other_tasks_run_while_a_large_body_is_processed(plans: bool) -> None:
    assert len(BODY) > LARGE_BYTES
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(other())
    seen = await run(engine(plans=plans), OPERATION, answer)
    beside.cancel()
    assert turns > len(BODY) // (LARGE_BYTES // 2)
    attachments = msgspec.json.decode(seen.body)["data"]["thread"]["attachments"]
    assert [each["id"] for each in attachments] == [f"attachment-{number}" for number in range(2_000)]


async def test_a_plan_answers_from_a_large_body() -> None:
    planned = engine()
    seen = await run(planned, OPERATION, answer)
    assert planned.counters.planned == 1
    assert seen == await run(engine(plans=False), OPERATION, answer)


async def test_customers_of_a_large_thread_are_completed_by_further_calls() -> None:
    """An object with a gap is not encoded before the gap is filled."""
    query = (
        "query Q($id: ID!) { thread(id: $id) { customers { id profile { customer { id } } } messages { totalCount } } }"
    )

    def reply(target: str) -> Response:
        if "/customers/" in target:
            name = target.rsplit("/", 1)[1]
            return rest_response(200, json={"customer": {"id": f"profile-of-{name}"}})
        return rest_response(200, json={"messages": [], "total": 7}) if "/messages" in target else answer(target)

    planned = engine()
    seen = await run(planned, Operation(query, None, {"id": "large"}), reply)
    assert planned.counters.planned == 1
    found = msgspec.json.decode(seen.body)["data"]["thread"]
    assert found["messages"] == {"totalCount": 7}
    assert [each["profile"]["customer"]["id"] for each in found["customers"]] == [
        f"profile-of-external-{number}" for number in range(500)
    ]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the garbage collector off, so that reference cycles are not freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
async def test_a_body_is_freed_with_its_operation(plans: bool) -> None:
    await run(engine(plans=plans), OPERATION, answer)
    await asyncio.sleep(0)
    assert not [each for each in gc.get_objects() if isinstance(each, (RestBody, LongList))]


@pytest.mark.parametrize(
    "text",
    [b"{}", b"[]", b' [1, [2, {}], {"a": [null]}]', b'{"a": {"b": [1.5, "\xc3\xa9"]}}', b'"text"', b"null", b"-1e3"],
)
@pytest.mark.parametrize("yield_bytes", [0, 8, 1_000_000])
async def test_cooperative_decoding_returns_what_decoding_at_once_returns(text: bytes, yield_bytes: int) -> None:
    assert await run_cooperatively(decode_cooperatively(text, yield_bytes)) == msgspec.json.decode(text)


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b'{"a": nul}', b'["\xff"]', b"[" * 5_000])
@pytest.mark.parametrize("yield_bytes", [0, 1_000_000])
async def test_cooperative_decoding_refuses_invalid_json(text: bytes, yield_bytes: int) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)):
        await run_cooperatively(decode_cooperatively(text, yield_bytes))
