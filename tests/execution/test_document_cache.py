"""Documents that are kept: how many, what they take, and what the garbage collector has to do with them."""

import gc
import tracemalloc

import pytest
from graphql import Location, Node, Token

from gateway.compat.strawberry import graphql_schema
from gateway.execution.documents.cache import DocumentCache
from gateway.schema import build_schema

SCHEMA = graphql_schema(build_schema())
_TOKENS_BESIDE_IDS = 14


def document(number: int, tokens: int = 20, characters: int = 0) -> str:
    """Return a document with a name of its own, of so many tokens, and of at least so many characters."""
    text = f"query Q{number} {{ threads(ids: [{'1 ' * (tokens - _TOKENS_BESIDE_IDS)}]) {{ id }} }}"
    return text + " " * (characters - len(text))


@pytest.mark.parametrize(
    ("tokens", "characters", "kept"),
    [(20, 0, 40), (99, 0, 40), (100, 0, 20), (1000, 0, 3), (20, 1999, 40), (20, 2000, 20), (20, 32_000, 2)],
)
def test_a_long_document_counts_as_several(tokens: int, characters: int, kept: int) -> None:
    documents = DocumentCache(SCHEMA, size=40)
    first, *others = (document(number, tokens, characters) for number in range(60))
    oldest = documents.get(first)
    for each in others:
        last = documents.get(each)
    assert documents.kept == kept
    assert documents.get(each) is last
    assert documents.get(first) is not oldest


@pytest.mark.parametrize("size", [1, 2])
def test_one_document_is_kept_however_long_it_is(size: int) -> None:
    documents = DocumentCache(SCHEMA, size=size)
    text = document(1, tokens=1400)
    assert documents.get(text) is documents.get(text)
    assert documents.kept == 1


def test_without_a_size_none_is_kept() -> None:
    documents = DocumentCache(SCHEMA, size=0)
    assert documents.get(document(1)) is not documents.get(document(1))
    assert documents.kept == 0


@pytest.mark.parametrize("tokens", [20, 300])
def test_what_a_full_cache_takes_does_not_depend_on_the_length_of_documents(tokens: int) -> None:
    """Nothing remains of a document that is no longer kept, although no garbage collection looks at its tree."""
    documents = DocumentCache(SCHEMA, size=10)
    documents.get(document(0, tokens))
    tracemalloc.start()
    try:
        for number in range(40):
            documents.get(document(number, tokens))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < taken < 10 * 60 * 1024


def test_a_garbage_collection_passes_over_the_trees_of_kept_documents() -> None:
    def parts() -> int:
        gc.collect()
        return sum(isinstance(each, (Node, Location, Token)) for each in gc.get_objects())

    documents = DocumentCache(SCHEMA, size=100)
    documents.get(document(0, tokens=300))
    before = parts()
    for number in range(1, 20):
        documents.get(document(number, tokens=300))
    assert parts() <= before
