"""Which of the operations that tests send are recorded and replayed, and why the others are not."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from tests.docs.page import ROOT
from tests.recording.corpus import Query
from tests.recording.ids import ids_of
from tests.recording.notes import FOLDER, Note, read_notes

_HASHED = ("extensions", "documentId")
_OPERATION = "subscribe"
"""The type of a WebSocket's message that has an operation as its payload."""


@dataclass(slots=True)
class Sent:
    """What tests sent: the queries that are recorded, and how many other operations there were, by the reason."""

    queries: list[Query] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    tests: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, notes: Iterable[Note]) -> "Sent":
        """Choose the queries."""
        sent = cls()
        for note in notes:
            for each in _operations(note.text):
                sent.tests.add(note.test.partition(" (")[0])
                reason = each if isinstance(each, str) else why_left_out(each)
                if reason is not None:
                    sent.left_out[reason] += 1
                elif isinstance(each, Query):
                    sent.queries.append(each)
        return sent

    @property
    def files(self) -> set[str]:
        """The files of the tests."""
        return {test.partition("::")[0] for test in self.tests}


def sent_by(paths: Sequence[str], marked: str = "not slow", processes: int = 0) -> Sent:
    """Run the tests at these paths, and return what they sent. Whether they succeed is another matter."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = ["-p", "tests.recording.notes", "-p", "no:cacheprovider", "-n", str(processes)]
        command = [sys.executable, "-m", "pytest", "-q", *plugin, "-m", marked, *paths]
        subprocess.run(command, check=False, env={**os.environ, FOLDER: folder}, cwd=ROOT)  # noqa: S603 - our own tests
        return Sent.of(read_notes(Path(folder)))


def distinct_queries(queries: Iterable[Query]) -> list[Query]:
    """Return each query that can be recorded once."""
    return list({json.dumps(each): each for each in queries if why_left_out(each) is None}.values())


def why_left_out(query: Query) -> str | None:
    """Return why an operation is not recorded and replayed; None for a query that is."""
    try:
        ids_of(query)
        nodes = [each for each in parse(query.document).definitions if isinstance(each, OperationDefinitionNode)]
    except GraphQLError:
        return "document with a syntax error"
    except RecursionError:
        return "document or variable that is nested too deeply"
    chosen = [each for each in nodes if query.name is None or (each.name and each.name.value == query.name)]
    if len(chosen) != 1:
        return "document without the operation, or with several"
    return None if chosen[0].operation is OperationType.QUERY else chosen[0].operation.value


def _operations(text: str | None) -> Iterator[Query | str]:
    """Yield the operations of a message, or for one that has none, why."""
    if text is None:
        yield "body of more than a million characters"
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield "form" if text.startswith("--") else "body that is no JSON"
        return
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and "type" in each:  # of a WebSocket
            if each["type"] == _OPERATION:
                yield _operation(each.get("payload"))
        else:
            yield _operation(each)


def _operation(value: Any) -> Query | str:
    if not isinstance(value, dict) or not isinstance(value.get("query"), str):
        is_named = isinstance(value, dict) and any(value.get(key) for key in _HASHED)
        return "hash or id of a document" if is_named else "JSON without a document"
    variables, name = _json(value.get("variables")), value.get("operationName")
    if not isinstance(variables, dict) or not isinstance(name, str | None):
        return "JSON with members of other types"
    return Query(value["query"], variables, name)


def _json(value: Any) -> Any:
    """Return the variables; in the URL of a GET they are a text."""
    if not isinstance(value, str):
        return {} if value is None else value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
