"""Large responses are compressed with the encoding that the client prefers."""

import gzip
import json
import sys
from collections.abc import Callable

import httpx
import pytest

from gateway.web.graphql.compression import negotiate_encoding
from tests.harness import Gateway, StartGateway

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}
LONG_DOCUMENTS = 500_000
EMPTY = len('{"data":{"":"Query"}}')


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(max_document=LONG_DOCUMENTS)


def document_for(size: int) -> str:
    """Return a document whose response has ``size`` bytes."""
    return f"{{ {'a' * (size - EMPTY)}: __typename }}"


def ask(gateway: Gateway, size: int, accept_encoding: str | None) -> tuple[httpx.Response, bytes]:
    """Return a response of ``size`` bytes before compression, and its body as sent."""
    request = gateway.http.build_request("POST", "/graphql", json={"query": document_for(size)})
    del request.headers["accept-encoding"]
    if accept_encoding is not None:
        request.headers["accept-encoding"] = accept_encoding
    response = gateway.http.send(request, stream=True)
    raw = b"".join(response.iter_raw())
    assert response.headers["content-length"] == str(len(raw))
    return response, raw


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1024, 100_000, 256 * 1024 - 1, 256 * 1024, 400_000])
def test_a_large_response_is_compressed(gateway: Gateway, encoding: str, size: int) -> None:
    response, raw = ask(gateway, size, encoding)
    assert response.headers["content-encoding"] == encoding
    assert response.headers["vary"] == "accept, accept-encoding"
    assert len(raw) < size / 4
    body = DECODE[encoding](raw)
    assert len(body) == size
    assert json.loads(body)["data"].popitem()[1] == "Query"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_fastest_level_is_used(gateway: Gateway, encoding: str) -> None:
    """Another level takes up to ten times as long for a few percent."""
    headers = {"accept-encoding": encoding}
    with gateway.http.stream("POST", "/graphql", json={"query": "{ _service { sdl } }"}, headers=headers) as response:
        raw = b"".join(response.iter_raw())
    body = DECODE[encoding](raw)
    of_level = [gzip.compress(body, n, mtime=0) if encoding == "gzip" else zstd.compress(body, n) for n in (1, 2, 3)]
    assert of_level.count(raw) == 1
    assert of_level[0] == raw


@pytest.mark.parametrize(("size", "encoded"), [(1023, False), (1024, True), (1025, True)])
def test_a_small_response_is_not_compressed(gateway: Gateway, size: int, encoded: bool) -> None:
    response, _ = ask(gateway, size, "zstd, gzip")
    assert ("content-encoding" in response.headers) is encoded


@pytest.mark.parametrize(("size", "encoded"), [(99, False), (100, True)])
def test_the_smallest_compressed_size_is_a_setting(start: StartGateway, size: int, encoded: bool) -> None:
    response, _ = ask(start(compress_from=100), size, "gzip")
    assert ("content-encoding" in response.headers) is encoded


def test_compression_can_be_switched_off(start: StartGateway) -> None:
    response, raw = ask(start(compress_from=0, max_document=LONG_DOCUMENTS), 100_000, "gzip")
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "accept"
    assert len(raw) == 100_000


def test_a_large_response_varies_by_encoding_even_if_it_is_not_compressed(gateway: Gateway) -> None:
    response, raw = ask(gateway, 100_000, None)
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "accept, accept-encoding"
    assert len(raw) == 100_000


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br, deflate", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("zstd, gzip", "gzip"),
        ("zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.6", "gzip"),
        ("zstd;q=0.6, gzip;q=0.5", "zstd"),
        ("zstd;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip, identity;q=0", "gzip"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("zstd, *;q=0", "zstd"),
        ("gzip;q=0, *", None),
    ],
)
def test_the_encoding_is_the_one_the_client_prefers(accept_encoding: str | None, expected: str | None) -> None:
    assert negotiate_encoding(accept_encoding) == expected
