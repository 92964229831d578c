"""Log lines: JSON for machines, text for a person at a terminal, and never longer than a collector takes."""

import asyncio
import errno
import io
import json
import logging
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as some

from gateway.sandbox import Sandbox
from gateway.telemetry import JsonFormatter, configure_logging, log_fields
from gateway.telemetry.json_lines import MAX_LINE_BYTES, encode_value, time_text
from gateway.telemetry.logs import TextFormatter
from tests.harness import SERVICE
from tests.programs import Start
from tests.selection import PROPERTY_CASES

_SMALL = some.none() | some.integers(max_value=2**80) | some.binary(max_size=9)
_CHARACTERS = some.sampled_from(["a", "é", "\x1f", "\x7f", "\ud800", "\u2028", "\n", '"', " "])
VALUES = some.recursive(
    _SMALL
    | some.lists(_SMALL, max_size=9).map(lambda items: items * 90)
    | some.builds(str.__mul__, _CHARACTERS, some.integers(0, 9000)),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(max_size=9), inner),
    max_leaves=9,
)
SHOWS_ANY_FAILURE = pytest.mark.filterwarnings("ignore:Generating overly large repr")
"""The values of a line that is cut are long. Hypothesis warns of that, and then does not say what failed."""


def record(message: str = "operation", level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("gateway", level, __file__, 1, message, None, None)
    made.fields = fields
    return made


def fail(text: str) -> None:
    raise ValueError(text)


def caught(text: str) -> Any:
    """Return the information of an exception that was raised."""
    try:
        fail(text)
    except ValueError:
        return sys.exc_info()


class FullDisk(io.StringIO):
    """A stream that takes nothing."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Fail as a file does, also when it is closed."""
        raise ValueError("I/O operation on closed file.") if self.closed else OSError(errno.ENOSPC, "full")


def test_a_line_of_600_calls_is_cut_and_says_what_is_missing() -> None:
    calls = [{"route": "/api/v1/thread/{id}", "status": 200, "ms": 1.5, "attempts": 1} for _ in range(600)]
    text = JsonFormatter().format(record("slow operation", requestId="mine", explain=calls, ms=2100.5))
    assert len(text.encode()) <= MAX_LINE_BYTES
    line = json.loads(text)
    assert (line["message"], line["requestId"], line["ms"]) == ("slow operation", "mine", 2100.5)
    assert len(line["explain"]) > 50
    assert line["cut"] == {"explain": 600 - len(line["explain"])}


def test_a_line_that_fits_is_whole() -> None:
    line = json.loads(JsonFormatter().format(record(explain=[1] * 3000)))
    assert len(line["explain"]) == 3000
    assert "cut" not in line


def test_of_a_traceback_the_end_is_kept() -> None:
    made = record(requestId="mine")
    made.exc_info = caught("x" * 20_000 + " and this is why")
    line = json.loads(JsonFormatter().format(made))
    assert line["exception"].endswith("and this is why")
    assert line["requestId"] == "mine"
    assert line["cut"].keys() == {"exception"}


class _Struct(msgspec.Struct, omit_defaults=True, rename="camel"):
    any_text: str
    nothing: Any = None


@pytest.mark.parametrize("text", ["a", "\ud800", "\udcff é"])
def test_a_struct_has_one_form_whatever_its_text_is(text: str) -> None:
    assert json.loads(encode_value(_Struct(text))) == {"anyText": text}


def test_a_struct_may_hold_what_has_no_json_form_beside_any_text() -> None:
    assert json.loads(encode_value(_Struct("\ud800", 1j))) == {"anyText": "\ud800", "nothing": "1j"}


@SHOWS_ANY_FAILURE
@settings(max_examples=max(1, PROPERTY_CASES // 20), deadline=None, phases=[Phase.explicit, Phase.generate])
@example(fields={"long": "a" * 5800, "not UTF-8": "\ud800" * 66, "bytes": {"": [bytes(4)] * 90}})
@given(fields=some.dictionaries(some.text(min_size=1, max_size=12), VALUES, max_size=80))
def test_any_line_is_short_and_complete(fields: dict[str, Any]) -> None:
    for formatter in (JsonFormatter(), TextFormatter(colour=True)):
        text = formatter.format(record(**{f"field {name}": value for name, value in fields.items()}))
        assert len(text.encode()) <= MAX_LINE_BYTES
        if type(formatter) is JsonFormatter:
            assert json.loads(text)["message"] == "operation"
        else:
            assert "\n" not in text


def test_a_line_has_the_time_of_its_own_millisecond() -> None:
    made, formatter, texts = record(), JsonFormatter(), []
    for made.created in (0.0, 0.9994, 1.0, 1.0015, 1.0019, 60.5, 1.0, 1_700_000_000.123):
        texts.append(json.loads(formatter.format(made))["time"])
    assert texts == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T00:00:01.001Z",
        "1970-01-01T00:00:01.001Z",
        "1970-01-01T00:01:00.500Z",
        "1970-01-01T00:00:01.000Z",
        "2023-11-14T22:13:20.123Z",
    ]


@given(some.lists(some.integers(-(10**9), 10**10) | some.integers(0, 4 * 10**18), max_size=9))
def test_a_time_is_that_of_rfc_3339_to_the_millisecond(times: list[int]) -> None:
    """Also where the clock is set back."""
    for each in times:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=each // 1000)
        assert time_text(each) == expected.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("first", [-1, -(10**9), 0])
def test_the_first_time_of_a_process_can_be_any(first: int) -> None:
    program = f"from gateway.telemetry.json_lines import time_text; print(time_text({first}))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own program
    assert printed.strip() == time_text(first)
    assert len(printed.strip()) == len("1970-01-01T00:00:00.000Z")


def test_a_person_reads_one_line_for_each_event() -> None:
    fields: dict[str, Any] = {"requestId": "r-1", "operation": "Inbox", "errors": [], "caller": None, "ms": 3.1}
    made = record(upstream=[{"route": "/api", "calls": 1}], **fields)
    made.created = 1_700_000_000.5
    assert TextFormatter().format(made) == (
        '22:13:20.500 info    operation  upstream=[{"route":"/api","calls":1}] requestId=r-1 operation=Inbox ms=3.1'
    )


def test_nothing_in_a_line_controls_the_terminal() -> None:
    text = TextFormatter().format(record("a\x1b[2Jb\nc", name="d\x1b]0;e\x07\n f"))
    assert text.isprintable()
    assert "a\\x1b[2Jb\\nc" in text


def test_a_traceback_stands_below_its_line() -> None:
    made = record("failed", logging.ERROR)
    made.exc_info = caught("why")
    first, *others = TextFormatter(colour=True).format(made).splitlines()
    assert first.endswith("failed")
    assert "\x1b[31merror  \x1b[0m" in first
    assert others[0].startswith("Traceback")
    assert others[-1] == "ValueError: why"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("kind", "is_terminal", "no_color", "expected"),
    [
        ("auto", True, False, r"\x1b[33mwarning\x1b[0m careful"),
        ("auto", True, True, "warning careful"),
        ("auto", False, False, '"message":"careful"'),
        ("json", True, False, '"message":"careful"'),
        ("text", False, False, "warning careful"),
    ],
)
def test_the_form_follows_the_setting_and_the_terminal(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_terminal: bool, no_color: bool, expected: str
) -> None:
    reading, writing = pty.openpty() if is_terminal else os.pipe()
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging("info", kind)
        for name in ("gateway", "uvicorn.error", "asyncio"):
            logging.getLogger(name).warning("careful")
        stream.flush()
        text = ""
        while text.count("\n") < 3:
            text += os.read(reading, 4096).decode()
    os.close(reading)
    monkeypatch.undo()
    assert len(text.splitlines()) == 3
    first = text.splitlines()[0]
    assert expected.replace(r"\x1b", "\x1b") in first


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.ERROR])
async def test_a_log_that_cannot_be_written_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, level: int, is_closed: bool
) -> None:
    stream = FullDisk()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("debug")
    written = logging.getLogger("gateway")
    if is_closed:
        stream.close()
    written.log(level, "a line")
    log_fields(level, "a request", {"requestId": "mine"})
    written.log(level, "a line while a request's line waits")
    log_fields(level, "a request", {"requestId": "mine"})
    await asyncio.sleep(0)


@pytest.mark.usefixtures("restored")
def test_a_log_whose_stream_is_closed_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        configure_logging("info")
        sys.stderr.close()
    logging.getLogger("gateway").error("a line")
    log_fields(logging.INFO, "a request", {"requestId": "mine"})
    assert capsys.readouterr().err == ""


def test_the_programs_lines_have_one_form(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    """The gateway's own, those of its server, and the note about a misspelt variable."""
    given = {**SERVICE, "upstream_url": upstream, "log_format": "text", "wrokers": "2"}
    program = begin("serve", "--port", "0", "--workers", "2", **given)
    program.err.until(r"^\d\d:\d\d:\d\d\.\d{3} warning GATEWAY_WROKERS is not a setting")
    program.err.until(r"^\d\d:\d\d:\d\d\.\d{3} info    uvicorn\.error: Started server process")
    program.err.until(r"^\d\d:\d\d:\d\d\.\d{3} info    listening on http://")
    program.kill()
    assert sandbox.count() == 0
