"""Names for the values of enumerations: what a client reads and writes, with a plan and without."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import strawberry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.compat.strawberry import graphql_schema
from gateway.errors import ConfigurationError
from gateway.execution.engine import Engine, EngineOptions
from gateway.execution.operation import Operation
from gateway.sandbox import Fault, Sandbox
from gateway.schema import Enumerations, Query, build_schema
from gateway.schema.resolvers.enumerations import OPEN, load_enumerations
from gateway.schema.scalars import CustomerAccountType, ThreadStatus
from tests.execution.comparison import documents, run
from tests.execution.operations import operations
from tests.execution.upstream_bodies import thread
from tests.execution.worlds import World, worlds
from tests.harness import StartGateway
from tests.selection import PROPERTY_CASES

NAMES = {
    "ThreadStatus": {"1": "Open", "2": "Waiting", "open": "Open"},
    "CustomerAccountType": {"F": "Firm", "N": "Individual"},
    "MessageOrigin": {"4": "Phone"},
    "MessageDelivery": {"Sent": "Sent"},
}
VALUES = [1, 2, 3, -1, 2**70, "1", "2", "02", "open", "F", "", "é", 4, "Sent"]
NOT_ONE = [True, 1.0, 2.5, [], {}, ["open"]]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def engines(names: dict[str, dict[str, str]]) -> tuple[Engine, Engine, Enumerations]:
    """Return an engine with plans, the reference, and the counts of the first."""
    enumerations = Enumerations(names)
    planned = Engine(build_schema(enumerations=enumerations), EngineOptions())
    reference = Engine(build_schema(enumerations=Enumerations(names)), EngineOptions(plans=False))
    return planned, reference, enumerations


PLANNED, REFERENCE, _ = engines(NAMES)
STATUS = Operation('{ thread(id: "1") { status } }')


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2, "Waiting"),
        ("2", "Waiting"),
        (1, "Open"),
        ("open", "Open"),
        (3, 3),
        ("3", "3"),
        ("02", "02"),
        ("OPEN", "OPEN"),
        ("Waiting", "Waiting"),
        (2**70, 2**70),
        (None, None),
    ],
)
async def test_a_value_with_a_name_is_named_and_any_other_is_unchanged(value: Any, shown: Any) -> None:
    for plans in (True, False):
        enumerations = Enumerations(NAMES)
        engine = Engine(build_schema(enumerations=enumerations), EngineOptions(plans=plans))
        seen = await run(engine, STATUS, documents({"/api/v1/thread/1": {"id": "1", "status": value}}))
        assert json.loads(seen.body) == {"data": {"thread": {"status": shown}}}
        assert enumerations.unmapped == ({"ThreadStatus": 1} if value is not None and shown == value else {})


async def test_a_value_that_is_no_text_and_no_integer_is_refused_as_without_names() -> None:
    for value in NOT_ONE:
        for engine in (PLANNED, REFERENCE):
            seen = await run(engine, STATUS, documents({"/api/v1/thread/1": {"id": "1", "status": value}}))
            assert json.loads(seen.body)["errors"][0]["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE", value


@settings(
    max_examples=max(1, PROPERTY_CASES // 4),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(operation=operations(), world=worlds())
def test_plan_equals_reference_with_names(loop: asyncio.Runner, operation: Operation, world: World) -> None:
    assert loop.run(run(PLANNED, operation, world)) == loop.run(run(REFERENCE, operation, world))


EVERY = Operation("""{ thread(id: "1") {
  status customers { accountType } lastMessage { delivery origin } messages { nodes { delivery origin } }
} }""")


@settings(max_examples=max(1, PROPERTY_CASES // 8), deadline=None)
@given(
    threads=st.lists(st.tuples(*[st.sampled_from([*VALUES, *NOT_ONE, None])] * 4), min_size=1, max_size=8),
    names=st.dictionaries(
        st.sampled_from(OPEN),
        st.dictionaries(st.sampled_from(["1", "2", "open", "F", ""]), st.just("Name"), min_size=1, max_size=1),
    ),
)
def test_plan_equals_reference_for_any_values_and_names(
    loop: asyncio.Runner, threads: list[tuple[Any, ...]], names: dict[str, dict[str, str]]
) -> None:
    """To build two engines takes longer than all else, so they answer for several threads."""
    planned, reference, _ = engines(names)
    for values in threads:
        body = thread("1")
        body["status"], body["customers"][0]["account_type"] = values[:2]
        body["last_message"]["delivery"], body["last_message"]["origin"] = values[2:]
        page = {"messages": [body["last_message"]], "total": 1}
        answer = documents({"/api/v1/thread/1": body, "/api/v1/thread/1/messages": page})
        assert loop.run(run(planned, EVERY, answer)) == loop.run(run(reference, EVERY, answer)), values


@strawberry.type(name="Query")
class Echo(Query):
    @strawberry.field
    def written(
        self, status: ThreadStatus | None = None, kind: Annotated[CustomerAccountType | None, "any"] = None
    ) -> str:
        return json.dumps([status, kind])


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Waiting", 2),  # status is written as an integer
        ("Open", 1),  # the integer, although a text has the same name
        (2, 2),
        (7, 7),
        ("Closed", "Closed"),
        ("2", "2"),
        ("open", "open"),
        (None, None),
    ],
)
async def test_a_name_that_is_written_becomes_its_value(given: Any, written: Any) -> None:
    schema = build_schema(query=Echo, enumerations=Enumerations(NAMES))
    literal, variable = (
        f"{{ written(status: {json.dumps(given)}) }}",
        "query ($s: ThreadStatus) { written(status: $s) }",
    )
    for plans in (True, False):
        engine = Engine(schema, EngineOptions(plans=plans))
        for operation in (Operation(literal), Operation(variable, None, {"s": given})):
            seen = await run(engine, operation, documents({}))
            assert json.loads(json.loads(seen.body)["data"]["written"]) == [written, None]


async def test_a_name_of_one_enumeration_means_nothing_to_another() -> None:
    engine = Engine(build_schema(query=Echo, enumerations=Enumerations(NAMES)), EngineOptions())
    operation = Operation('{ written(kind: "Waiting", status: "Firm") }')
    seen = await run(engine, operation, documents({}))
    assert json.loads(json.loads(seen.body)["data"]["written"]) == ["Firm", "Waiting"]


def test_names_belong_to_one_schema() -> None:
    named, plain = build_schema(enumerations=Enumerations(NAMES)), build_schema()
    assert named.as_str() == plain.as_str()
    assert not graphql_schema(plain).type_map["ThreadStatus"].extensions.get("gateway.name_of")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be a JSON object such as"),
        ("[]", "must be a JSON object such as"),
        ("{", "must be a JSON object such as"),
        ("\ud800", "must be a JSON object such as"),
        ("[" * 100_000, "must be a JSON object such as"),
        ('{"Status": {"2": "Waiting"}}', "Status is no enumeration without published values. Those are"),
        ('{"EventSource": {"api": "Api"}}', "EventSource is no enumeration without published values."),
        ('{"ThreadStatus": ["Open"]}', "ThreadStatus must be an object with at least one value and its name"),
        ('{"ThreadStatus": {}}', "ThreadStatus must be an object with at least one value and its name"),
        ('{"ThreadStatus": {"2": 2}}', 'the name of "2" is 2: it must be a text'),
        ('{"ThreadStatus": {"2": "on hold"}}', 'the name of "2" is "on hold": it must be a text'),
        ('{"ThreadStatus": {"2": "2"}}', 'the name of "2" is "2": it must be a text'),
        ('{"ThreadStatus": {"2": "Waiting", "2": "Open"}}', 'the key "2" stands there twice'),
        ('{"ThreadStatus": {"2": "Open", "3": "Open"}}', "Open is the name of 2 values"),
        ('{"ThreadStatus": {"w": "Open", "x": "Open"}}', "Open is the name of 2 values"),
        ('{"ThreadStatus": {"a": "b", "b": "c"}}', 'the name of "a" is b, which is a value with another name'),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "enums.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ConfigurationError) as caught:
        load_enumerations(path)
    (line,) = caught.value.problems
    assert line.startswith(f"GATEWAY_ENUMS: {path}")
    assert problem in line


def test_every_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "enums.json"
    path.write_text('{"Status": {}, "ThreadStatus": {"2": "", "3": "a b"}}')
    with pytest.raises(ConfigurationError) as caught:
        load_enumerations(path)
    assert len(caught.value.problems) == 3


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_enumerations(tmp_path)


def test_a_gateway_names_values_and_counts_those_without_a_name(
    start: StartGateway, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "enums.json"
    path.write_text('{"ThreadStatus": {"2": "Waiting"}}')
    gateway = start(enums=path)
    for value, shown in ((2, "Waiting"), (3, 3), ("Open", "Open")):
        sandbox.faults.add(Fault("thread", patch={"status": value}, times=1))
        assert gateway.data('{ thread(id: "th-1") { status } }') == {"thread": {"status": shown}}
