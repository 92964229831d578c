"""Large REST bodies are processed cooperatively: other operations run meanwhile, and nothing of them is kept."""

import asyncio
import gc
from collections.abc import Iterator

import msgspec
import pytest

from gateway.errors import UpstreamInvalidResponse
from gateway.execution.operation import Operation
from gateway.http1 import Response
from gateway.schema.resolvers.cooperative import LARGE_BYTES, Pace
from gateway.schema.resolvers.large_bodies import MAX_DIGITS, MAX_VALUES, inspect
from gateway.schema.resolvers.records import RestBody
from tests.bench.shapes import BIG, thread
from tests.execution.comparison import engine, run
from tests.harness import rest_response

BODY = thread("large", attachments=2_000, movements=5, customers=500)
OPERATION = Operation(BIG.query, None, {"id": "large"})


def answer(_target: str) -> Response:
    return rest_response(200, BODY)


@pytest.mark.slow  # it measures
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


@pytest.mark.slow  # large bodies
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


@pytest.mark.slow  # large bodies
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
async def test_a_body_is_freed_with_its_operation(plans: bool) -> None:
    await run(engine(plans=plans), OPERATION, answer)
    await asyncio.sleep(0)
    assert not [each for each in gc.get_objects() if isinstance(each, RestBody)]


def inspected(body: bytes) -> str | None:
    """Return what an inspection says is wrong with a body, None if it is right."""
    try:
        for _ in inspect(body):
            pass
    except UpstreamInvalidResponse as exc:
        return exc.message
    return None


TEXTS = [
    "",
    "a, b",
    "{[,",
    'a "quoted" text',
    "ends with a backslash \\",
    "\\" * 70_000,
    '"' * 40_000,
    "1" * 100_000,
    "\u00e9" * 40_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("shift", [0, 1, 2, 65_530, 65_535])
def test_what_a_string_holds_does_not_count(text: str, shift: int) -> None:
    """Whatever begins or ends where the body is divided."""
    pad = " " * shift
    strings = [text, text + "," * MAX_VALUES, "1" * 1_000 + text]
    body = msgspec.json.encode(strings)[:-1]
    assert inspected(pad.encode() + body + b"]") is None
    assert "values" in str(inspected(pad.encode() + body + b",1" * MAX_VALUES + b"]"))
    assert "digits" in str(inspected(pad.encode() + body + b"," + b"1" * (MAX_DIGITS + 1) + b"]"))
    assert inspected(pad.encode() + body + b"," + b"1" * MAX_DIGITS + b"]") is None


@pytest.mark.parametrize("values", [b"{},", b"[],", b"1,", b"[[", b'{"a":{"a":'])
def test_the_values_of_a_large_body_are_limited(values: bytes) -> None:
    of_each = len(values) - len(values.translate(None, b"{[,"))
    count = MAX_VALUES // of_each
    assert inspected(b"[" + values * (count - 1)) is None
    assert "values" in str(inspected(b"[" + values * (count + 1)))


@pytest.mark.parametrize("digits", [MAX_DIGITS, MAX_DIGITS + 1])
@pytest.mark.parametrize("before", [0, 1, 15, 65_500, 65_535])
def test_the_digits_of_a_number_in_a_large_body_are_limited(digits: int, before: int) -> None:
    """Wherever it is, and whether or not it has a fraction."""
    for number in (b"1" * digits, b"-" + b"9" * digits, b"0." + b"3" * digits):
        problem = inspected(b" " * before + b"[" + number + b"]")
        assert (problem is None) == (digits == MAX_DIGITS)


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
@pytest.mark.parametrize("before", [0, 65_533, 65_534, 65_535])
def test_a_large_body_is_utf_8(text: bytes, before: int) -> None:
    assert inspected(b'["' + b"x" * before + text + b'"]') == "The REST API's answer is not JSON."
    assert inspected(b'["' + b"x" * before + "\U0001f600".encode() + b'"]') is None


@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
@pytest.mark.parametrize(
    ("part", "selection"),
    [
        ('"status": [[[]]]', "status"),
        ('"tags": {"a": [{}]}', "tags"),
        ('"customers": [[[]]]', "customers { id }"),
        ('"last_message": [[]]', "lastMessage { id }"),
        ('"message_count": 1e999', "messageCount"),
        (f'"message_count": {"1" * 5_000}', "messageCount"),
        ('"customers": [{"id": "1", "custom_fields": {"a": 1e999}}]', "customers { customFields }"),
    ],
    ids=["scalar", "list", "items", "object", "float", "integer", "json"],
)
async def test_a_value_of_another_form_fails_only_the_field_that_reads_it(
    plans: bool, part: str, selection: str
) -> None:
    def reply(_target: str) -> Response:
        return rest_response(200, f'{{"id": "1", {part}}}'.encode())

    executor = engine(plans=plans)
    wrong = await run(executor, Operation(f"{{ thread(id: 1) {{ id {selection} }} }}", None, None), reply)
    assert b"UPSTREAM_INVALID_RESPONSE" in wrong.body
    right = await run(executor, Operation("{ thread(id: 1) { id } }", None, None), reply)
    assert right.body == b'{"data":{"thread":{"id":"1"}}}'


@pytest.mark.slow  # large bodies
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("content", [b"[]", b"{", b'{"attachments": {}}', b'{"attachments": [1]}'])
async def test_a_body_is_freed_with_its_operation_also_if_it_is_wrong(content: bytes) -> None:
    await run(engine(), OPERATION, lambda _target: rest_response(200, content + b" " * LARGE_BYTES))
    await asyncio.sleep(0)
    assert not [each for each in gc.get_objects() if isinstance(each, RestBody)]


async def test_the_tasks_of_an_operation_share_its_time() -> None:
    """They work one after the other, each to its end, and the event loop turns in between."""
    pace = Pace(slice_seconds=0)
    order: list[tuple[str, int]] = []
    turn = 0

    async def work(name: str) -> None:
        for _ in range(3):
            await pace.turn()
            order.append((name, turn))

    async def turns() -> None:
        nonlocal turn
        while len(order) < 9:
            turn += 1
            await asyncio.sleep(0)

    await asyncio.gather(turns(), *map(work, "abc"))
    assert "".join(name for name, _ in order) in {"acccbbbaa", "abcccbbaa"}
    assert len({turn for _, turn in order}) == 9


async def test_a_task_that_is_cancelled_gives_its_turn_to_the_next() -> None:
    pace = Pace(slice_seconds=0)
    await pace.turn()
    waiting = [asyncio.create_task(pace.turn()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    waiting[1].cancel()
    async with asyncio.timeout(10):
        await waiting[0]
