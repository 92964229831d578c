"""Lines of requests are written together, soon; no line is lost, torn or out of order."""

import asyncio
import json
import logging
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from select import PIPE_BUF
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from gateway.telemetry import configure_logging
from gateway.telemetry.json_lines import MAX_LINE_BYTES, encode_value
from gateway.telemetry.logs import (
    JsonFormatter,
    LineHandler,
    RequestRecord,
    TextFormatter,
    logger,
)
from tests.selection import PROPERTY_CASES
from tests.telemetry.test_logs import SHOWS_ANY_FAILURE, VALUES
from tests.telemetry.written_lines import Emitting, Failing, Later, Records, Shown, Writes, log, without_time, write


@pytest.fixture
def writes() -> Iterator[Writes]:
    yield from _writes()


def _writes() -> Iterator[Writes]:
    handler, stream = LineHandler(JsonFormatter()), Writes()
    handler.setStream(stream)
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = True  # else pytest adds a handler of its own: see `write`
    yield stream
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_lines_that_follow_each_other_are_one_write(writes: Writes) -> None:
    async def run() -> None:
        for number in range(3):
            log(number)
        assert writes.flushed == []
        await writes.until_it_has(3)
        assert [each["number"] for each in writes.lines] == [0, 1, 2]
        assert len(writes.flushed) == 1
        log(3)
        await writes.until_it_has(4)
        assert len(writes.flushed) == 2

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [0, 1, 2, 3]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("shared", "most"), [(True, PIPE_BUF), (False, 65_536)])
def test_no_write_has_more_than_a_pipe_takes_in_one_piece_where_it_is_shared(
    writes: Writes, monkeypatch: pytest.MonkeyPatch, shared: bool, most: int
) -> None:
    monkeypatch.setattr(sys, "stderr", writes)
    configure_logging("info", shared=shared)

    async def run() -> None:
        for number in range(190):
            log(number, text="x" * 500)
        await writes.until_it_has(190)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == list(range(190))
    sizes = [len(each) for each in writes.flushed]
    assert len(sizes) > 1
    assert all(most - 700 < size <= most for size in sizes[:-1])


def test_lines_that_wait_when_an_event_loop_ends_are_written_with_those_of_the_next(writes: Writes) -> None:
    async def first() -> None:
        log(0)

    async def second() -> None:
        log(1)
        await writes.until_it_has(2)

    asyncio.run(first())
    asyncio.run(second())
    assert [each["number"] for each in writes.lines] == [0, 1]


@SHOWS_ANY_FAILURE
@settings(max_examples=max(1, PROPERTY_CASES // 20), deadline=None, phases=[Phase.explicit, Phase.generate])
@example(fields={"field \u2028": "\x85"})
@given(fields=st.dictionaries(st.text(min_size=1, max_size=12).map("field {}".format), VALUES, max_size=80))
def test_a_line_without_a_record_is_the_line_of_its_record(fields: dict[str, Any]) -> None:
    """Whatever its fields are: cut, without a UTF-8 form, none at all."""
    for stream in _writes():
        write(fields)
        logger.handle(RequestRecord(logging.INFO, "operation", fields))
        fields = json.loads(encode_value(fields))  # a line that is made later is JSON before it is cut
        write(Later(requestId="mine", calls=fields))
        logger.handle(RequestRecord(logging.INFO, "operation", {"requestId": "mine", "calls": fields}))
        lines = [without_time(line) for line in "".join(stream.flushed).removesuffix("\n").split("\n")]
        assert lines[0] == lines[1]
        assert lines[2] == lines[3]


def test_a_field_can_have_the_name_of_what_a_line_begins_with(writes: Writes) -> None:
    write({"message": "mine"})
    (line,) = writes.lines
    assert line["message"] == "mine"
    assert writes.flushed[0].count('"message"') == 1


def test_a_level_of_somebody_else_has_its_name(writes: Writes) -> None:
    write({}, logging.INFO + 5)
    logger.handle(RequestRecord(logging.INFO + 5, "operation", {}))
    assert [line["level"] for line in writes.lines] == ["Level 25", "Level 25"]


def test_a_line_can_be_made_later(writes: Writes) -> None:
    """Also for the handler of somebody else, which gets its fields as a dict, and for a person."""
    line = Later(requestId="mine", calls=[{"calls": 1}])
    write(line)
    direct = writes.flushed.pop()
    logger.addHandler(others := Records())
    write(line)
    assert without_time(writes.flushed.pop()) == without_time(direct)
    (record,) = others.records
    assert (record.getMessage(), record.levelname) == ("operation", "INFO")
    assert vars(record)["fields"] == {"requestId": "mine", "calls": [{"calls": 1}]}
    logger.removeHandler(others)
    logger.handlers[0].setFormatter(TextFormatter())
    write(line)
    assert writes.flushed.pop().endswith('requestId=mine calls=[{"calls":1}]\n')


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["JSON", "text"])
@pytest.mark.parametrize("caller", ["a", "\ud800", "\udcff\x00"])
def test_a_line_that_is_made_later_is_cut_and_can_have_any_text(
    writes: Writes, formatter: logging.Formatter, caller: str
) -> None:
    logger.handlers[0].setFormatter(formatter)
    write(Later(caller=caller, text="é" * 9000))
    (line,) = writes.flushed
    assert 7000 < len(line.encode()) <= MAX_LINE_BYTES + 1
    if type(formatter) is JsonFormatter:
        made = json.loads(line)
        assert made["caller"] == caller
        assert made["cut"].keys() == {"text"}


def test_a_line_that_cannot_be_made_takes_no_other_with_it(writes: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        for number in range(3):
            write(Failing() if number == 1 else Later(number=number))
        await writes.until_it_has(2)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [0, 2]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_handler_that_is_added_while_lines_wait_gets_the_next(writes: Writes) -> None:
    async def run() -> None:
        write(Later(number=0))
        logger.addHandler(others := Records())
        write(Later(number=1))
        logger.removeHandler(others)
        write(Later(number=2))
        assert [vars(each)["fields"] for each in others.records] == [{"number": 1}]
        await writes.until_it_has(3)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [0, 1, 2]


def test_a_filter_that_is_added_while_lines_wait_holds_for_the_next(writes: Writes) -> None:
    async def run() -> None:
        write(Later(number=0))
        logger.addFilter(refuse := lambda _record: False)
        write(Later(number=1))
        logger.removeFilter(refuse)
        write(Later(number=2))
        await writes.until_it_has(2)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [0, 2]


def test_a_line_that_is_cut_waits_in_its_turn(writes: Writes) -> None:
    async def run() -> None:
        log(0)
        log(1, text="a" * 9000)
        log(2)
        await writes.until_it_has(3)

    asyncio.run(run())
    assert [(each["number"], "cut" in each) for each in writes.lines] == [(0, False), (1, True), (2, False)]


def test_a_line_that_cannot_be_encoded_takes_no_other_with_it(
    writes: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        log(0)
        log(1, text="a", odd=Shown(lambda: str(1 / 0)))
        log(2)
        await writes.until_it_has(2)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [0, 2]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_line_during_another_tears_neither(writes: Writes) -> None:
    def show() -> str:
        log(2)
        logger.warning("now")
        return "shown"

    async def run() -> None:
        log(0)
        log(1, text="a", odd=Shown(show))
        await writes.until_it_has(4)

    asyncio.run(run())
    assert [each.get("number") for each in writes.lines] == [0, 2, None, 1]


def test_lines_of_several_threads_are_whole(writes: Writes) -> None:
    """Also where each write takes what waits for another one."""

    def several(thread: int) -> None:
        for number in range(100):
            log(number, thread=thread)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(3) as pool:
            others = [loop.run_in_executor(pool, several, thread) for thread in range(1, 4)]
            several(0)
            await asyncio.gather(*others)
        await writes.until_it_has(400)

    asyncio.run(run())
    for thread in range(4):
        assert [each["number"] for each in writes.lines if each["thread"] == thread] == list(range(100))


def test_the_line_of_an_operation_needs_no_record(writes: Writes) -> None:
    handler = Emitting(JsonFormatter())
    handler.setStream(writes)
    logger.handlers = [handler]
    log(0)
    assert [each["number"] for each in writes.lines] == [0]
    assert handler.emitted == 0
    handler.setFormatter(TextFormatter())
    log(1)
    assert handler.emitted == 1


@pytest.mark.parametrize("line", [Later(number=1), {"number": 1}], ids=["later", "at once"])
def test_lines_leave_nothing_in_memory(writes: Writes, line: Later | dict[str, Any]) -> None:
    """The `encode_lines` of msgspec 0.22 leaks 48 bytes each time that it encodes a tuple."""

    def thousand() -> int:
        for _ in range(1000):
            write(line)
        writes.flushed.clear()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        thousand()
        before = thousand()
        assert thousand() - before < 10_000
    finally:
        tracemalloc.stop()


def test_at_most_200_lines_wait(writes: Writes) -> None:
    async def run() -> None:
        for number in range(500):
            log(number)
            assert len(writes.lines) > number - 200
        assert len(writes.lines) == 400

    asyncio.run(run())


def test_levels_and_filters_of_a_handler_hold_for_lines_of_requests(writes: Writes) -> None:
    (handler,) = logger.handlers
    handler.setLevel(logging.WARNING)
    log(0)
    handler.setLevel(logging.INFO)
    for filtered in (handler, logger):
        filtered.addFilter(refuse := lambda _record: False)
        log(1)
        filtered.removeFilter(refuse)
    log(2)
    assert [each["number"] for each in writes.lines] == [2]


def test_any_other_line_is_written_at_once_after_those_that_wait(writes: Writes) -> None:
    async def run() -> None:
        log(0)
        logger.warning("now")
        assert [each["message"] for each in writes.lines] == ["operation", "now"]

    asyncio.run(run())
    assert len(writes.lines) == 2


def test_lines_of_a_loop_that_has_ended_are_written_before_the_next(writes: Writes) -> None:
    async def run() -> None:
        log(0)

    asyncio.run(run())
    logger.warning("the loop has ended")
    assert [each["message"] for each in writes.lines] == ["operation", "the loop has ended"]


def test_a_program_that_ends_writes_the_lines_that_wait() -> None:
    program = """
import asyncio, logging, sys
from gateway.telemetry import configure_logging, log_fields

async def run():
    log_fields(logging.INFO, "the last operation", {})
    sys.exit(3)

configure_logging("info", "json")
asyncio.run(run())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert ended.returncode == 3
    assert [json.loads(line)["message"] for line in ended.stderr.splitlines()] == ["the last operation"]


def test_lines_that_still_wait_are_written_when_logging_ends(writes: Writes) -> None:
    async def run() -> None:
        log(0)
        for handler in logger.handlers:
            handler.flush()
        assert [each["number"] for each in writes.lines] == [0]

    asyncio.run(run())


def test_without_an_event_loop_a_line_is_written_at_once(writes: Writes) -> None:
    log(0)
    assert [each["number"] for each in writes.lines] == [0]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50).map(lambda text: text * 40), max_size=20)
)
def test_a_write_of_several_lines_fits_into_a_pipe_in_one_piece(texts: list[str]) -> None:
    """Else lines of several workers, who share the pipe, could be torn."""
    for stream in _writes():

        async def run(stream: Writes = stream) -> None:
            for number, text in enumerate(texts):
                log(number, text=text)
            await stream.until_it_has(len(texts))

        asyncio.run(run())
        assert [each["text"] for each in stream.lines] == texts
        assert all(len(text.encode()) <= PIPE_BUF for text in stream.flushed if text.count("\n") > 1)


def test_a_log_that_cannot_be_written_fails_no_request_and_keeps_no_lines(
    writes: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        writes.is_broken = True
        log(0)
        for handler in logger.handlers:
            handler.flush()
        writes.is_broken = False
        log(1)
        await writes.until_it_has(1)

    asyncio.run(run())
    assert [each["number"] for each in writes.lines] == [1]
    assert "BrokenPipeError" in capsys.readouterr().err
