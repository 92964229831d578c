"""The result of an operation, in the form that a client gets."""

from graphql import GraphQLError, Source
from graphql.language import parse

from gateway.errors import UpstreamError
from gateway.execution.result import completed


def test_errors_have_the_order_of_the_document_whichever_happens_first() -> None:
    document = parse(Source("{ a b }"))
    nodes = document.definitions[0].selection_set.selections  # type: ignore[attr-defined]  # an operation
    paths: list[tuple[int, list[str | int]]] = [(1, ["b"]), (0, ["a", 1, "x"]), (0, ["a", 0]), (0, ["a", "x"])]
    errors = [GraphQLError("failed", nodes[at], path=path, original_error=UpstreamError()) for at, path in paths]
    result = completed({"a": None, "b": None}, errors, "request")
    assert [error["path"] for error in result.payload["errors"]] == [["a", 0], ["a", 1, "x"], ["a", "x"], ["b"]]
