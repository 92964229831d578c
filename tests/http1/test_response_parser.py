"""How an answer's bytes become an answer, and which bytes are refused."""

import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http1 import CallFailed, InvalidResponse, Response, ResponseTooLarge
from gateway.http1.parser import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_INTERIM,
    MAX_MEMBERS,
    MAX_SMALL_CHUNKS,
    ResponseParser,
)

MAX_BODY = 1_000_000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def parser(*, is_head: bool = False) -> ResponseParser:
    new = ResponseParser(MAX_BODY)
    new.reset(is_head=is_head)
    return new


def read(sent: bytes | Iterable[bytes], *, ended: bool = False, is_head: bool = False) -> tuple[Response, bool]:
    """Return the answer in the segments ``sent``, and whether the connection can be used again."""
    reading = parser(is_head=is_head)
    for segment in [sent] if isinstance(sent, bytes) else sent:
        assert not reading.complete
        reading.feed(segment)
    if ended:
        reading.feed_eof()
    assert reading.complete
    assert not reading.surplus
    return reading.response(), reading.keep_alive


def with_length(body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


def in_chunks(*chunks: bytes, trailers: bytes = b"", headers: bytes = b"") -> bytes:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return OK + b"transfer-encoding: chunked\r\n" + headers + b"\r\n" + sent + b"0\r\n" + trailers + b"\r\n"


RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
GZIP, DEFLATE = b"content-encoding: gzip\r\n", b"content-encoding: deflate\r\n"
WHOLE: dict[str, tuple[bytes, bytes, bool]] = {
    "length": (with_length(b"body"), b"body", True),
    "length of none": (with_length(b""), b"", True),
    "length, ends with a line end": (with_length(b"body\r\n"), b"body\r\n", True),
    "length, close": (with_length(b"body", b"Connection: close\r\n"), b"body", False),
    "chunked": (in_chunks(b"bo", b"dy"), b"body", True),
    "chunked, trailers": (in_chunks(b"body", trailers=b"x: y\r\n"), b"body", True),
    "chunked, extension": (CHUNKED + b"4;a=b\r\nbody\r\n0;c\r\n\r\n", b"body", True),
    "chunked, empty": (in_chunks(), b"", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", b"body", False),
    "HTTP/1.0, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody", b"body", True),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 4\r\n\r\nbody", b"body", True),
    "599": (with_length(b"body", status=b"599 Unknown"), b"body", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n", b"", True),
    "after interim answers": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" * 8 + with_length(b"body"),
        b"body",
        True,
    ),
    "gzip": (with_length(gzip.compress(b"body"), GZIP), b"body", True),
    "x-gzip": (with_length(gzip.compress(b"body"), b"content-encoding: x-gzip\r\n"), b"body", True),
    "gzip of two members": (with_length(gzip.compress(b"bo") + gzip.compress(b"dy"), GZIP), b"body", True),
    "gzip of many members": (with_length(gzip.compress(b"x") * MAX_MEMBERS, GZIP), b"x" * MAX_MEMBERS, True),
    "gzip in chunks": (in_chunks(gzip.compress(b"body"), headers=GZIP), b"body", True),
    "gzip of nothing": (with_length(b"", GZIP), b"", True),
    "deflate": (with_length(zlib.compress(b"body"), DEFLATE), b"body", True),
    "deflate without a header": (
        with_length(RAW_DEFLATE.compress(b"body") + RAW_DEFLATE.flush(), DEFLATE),
        b"body",
        True,
    ),
    "deflate of nothing without a header": (with_length(b"\x03\x00", DEFLATE), b"", True),
    "identity": (with_length(b"body", b"content-encoding: identity\r\n"), b"body", True),
}
ANOTHER = with_length(b"another", b"x: y\r\n", b"500 Internal Server Error")


@pytest.mark.parametrize(("sent", "body", "kept"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("size", [1, 10**9], ids=["byte by byte", "at once"])
def test_a_whole_answer(sent: bytes, body: bytes, kept: bool, size: int) -> None:
    answer, keep_alive = read(sent[start : start + size] for start in range(0, len(sent), size))
    assert (answer.body, keep_alive) == (body, kept)


@settings(deadline=None)
@given(name=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_however_an_answer_is_split_it_is_the_same(name: str, data: st.DataObject) -> None:
    sent, body, kept = WHOLE[name]
    cuts = data.draw(st.sets(st.integers(1, len(sent) - 1)).map(sorted))
    segments = [sent[start:end] for start, end in itertools.pairwise([0, *cuts, len(sent)])]
    answer, keep_alive = read(segments)
    assert answer == read(sent)[0]
    assert (answer.body, keep_alive) == (body, kept)


@settings(deadline=None)
@given(name=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_however_it_is_split_what_follows_is_noticed(name: str, data: st.DataObject) -> None:
    sent, _, _ = WHOLE[name]
    following = data.draw(st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"H", b"HTTP/1.1 200 OK", ANOTHER]))
    cut = data.draw(st.integers(0, len(sent) - 1))
    reading = parser()
    if cut:
        reading.feed(sent[:cut])
    reading.feed(sent[cut:] + following)
    assert reading.complete
    assert reading.surplus or not reading.keep_alive
    assert reading.surplus == bool(following.strip(b"\r\n"))
    assert reading.response() == read(sent)[0]


@pytest.mark.parametrize("close", [b"", b"connection: close\r\n"], ids=["kept", "close"])
def test_what_follows_an_answer_is_noticed_though_the_connection_closes(close: bytes) -> None:
    reading = parser()
    assert reading.feed(with_length(b"body", close) + ANOTHER)
    assert reading.surplus


@pytest.mark.parametrize(("line_ends", "kept"), [(63, True), (64, False)])
def test_of_so_many_line_ends_nobody_knows_whose_they_are(line_ends: int, kept: bool) -> None:
    answer, keep_alive = read(with_length(b"body" + b"\n" * line_ends))
    assert (len(answer.body), keep_alive) == (4 + line_ends, kept)


def test_a_body_that_ends_with_the_connection() -> None:
    answer, keep_alive = read([OK + b"\r\nbo", b"dy"], ended=True)
    assert (answer.body, keep_alive) == (b"body", False)
    assert read(OK + GZIP + b"\r\n" + gzip.compress(b"body"), ended=True)[0].body == b"body"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 2", OK, with_length(b"body")[:-1], in_chunks(b"body")[:-1]])
def test_a_connection_that_ends_too_early(sent: bytes) -> None:
    reading = parser()
    if sent:
        reading.feed(sent)
    assert not reading.feed_eof()


@pytest.mark.parametrize("header", [b"content-length: 4", b"transfer-encoding: chunked", b"x: y"])
def test_the_answer_to_a_head_has_no_body(header: bytes) -> None:
    answer, keep_alive = read(OK + header + b"\r\n\r\n", is_head=True)
    assert (answer.status, answer.body, keep_alive) == (200, b"", False)


def test_headers_are_found_whatever_their_case() -> None:
    answer, _ = read(with_length(b"", b"Retry-After: 7\r\nVia: a\r\nVIA: b\r\nX: \xe9\r\n"))
    assert answer.header("retry-AFTER") == "7"
    assert answer.header("via") == "a, b"
    assert answer.header("X") == "\xe9"
    assert answer.header("age") is None


REFUSED = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a line end first": b"\r\n" + with_length(b""),
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    "status above 599": b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "switching to none": b"HTTP/1.1 101 Switching\r\n\r\n",
    "lines without CR": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "two lengths": OK + b"content-length: 4\r\ncontent-length: 5\r\n\r\nbody",
    "a list of lengths": OK + b"content-length: 4, 4\r\n\r\nbody",
    "negative length": OK + b"content-length: -1\r\n\r\n",
    "length beyond numbers": OK + b"content-length: 99999999999999999999\r\n\r\n",
    "length and chunks": OK + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
    "unknown coding": OK + b"transfer-encoding: gzip\r\n\r\n",
    "unknown coding before chunks": OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "unknown coding after chunks": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n",
    "negative chunk": CHUNKED + b"-1\r\n",
    "chunk longer than said": CHUNKED + b"1\r\nbody\r\n0\r\n\r\n",
    "folded header": OK + b"x: a\r\n b\r\n\r\n",
    "space before the colon": OK + b"content-length : 4\r\n\r\n",
    "encoding not asked for": with_length(b"body", b"content-encoding: br\r\n"),
    "two encodings": with_length(b"body", b"content-encoding: gzip, gzip\r\n"),
    "no gzip": with_length(b"body", GZIP),
    "gzip that is deflate": with_length(zlib.compress(b"body"), GZIP),
    "gzip and then deflate": with_length(gzip.compress(b"bo") + zlib.compress(b"dy"), GZIP),
    "gzip cut off": with_length(gzip.compress(b"body")[:-1], GZIP),
    "gzip of one byte": with_length(b"\x1f", GZIP),
    "gzip and more": with_length(gzip.compress(b"body") + b"more", GZIP),
    "gzip of too many members": with_length(gzip.compress(b"") * (MAX_MEMBERS + 1), GZIP),
    "deflate and more": with_length(zlib.compress(b"body") + b"more", DEFLATE),
    "too many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
    "too many headers": OK + b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "too large headers": OK + b"x: %b\r\n\r\n" % bytes(b"y" * MAX_HEADER_BYTES),
    "too many trailers": in_chunks(trailers=b"x: y\r\n" * (MAX_HEADERS + 1)),
    "too large trailers": in_chunks(trailers=b"x: %b\r\n" % bytes(b"y" * MAX_HEADER_BYTES)),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_bytes_that_are_no_answer(sent: bytes, size: int) -> None:
    reading = parser()
    with pytest.raises(InvalidResponse):  # noqa: PT012 - at some segment
        for start in range(0, len(sent), size):
            reading.feed(sent[start : start + size])
        reading.response()


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "reason": (b"HTTP/1.1 200 ", b"x"),
    "header name": (OK, b"x"),
    "header value": (OK + b"x: ", b"y"),
    "headers": (OK, b"x: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim header": (b"HTTP/1.1 103 Early Hints\r\nx: ", b"y"),
    "line ends behind an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n"),
    "trailer": (CHUNKED + b"1\r\nx\r\n0\r\nx: ", b"y"),
}


@pytest.mark.parametrize(("start", "endless"), ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("size", [1, 4096])
def test_what_never_ends_is_refused_in_time(start: bytes, endless: bytes, size: int) -> None:
    reading = parser()
    if start:
        reading.feed(start)
    segment = endless * size
    with pytest.raises(InvalidResponse):  # noqa: PT012 - at some segment
        for _ in range(2 * MAX_HEADER_BYTES // len(segment) + 2):
            reading.feed(segment)


LARGE = bytes(MAX_BODY + 1)
TOO_LARGE: dict[str, bytes] = {
    "length": with_length(b"x" * (MAX_BODY + 1))[:100],
    "chunked": in_chunks(LARGE),
    "until the end": OK + b"\r\n" + LARGE,
    "gzip": with_length(gzip.compress(LARGE), GZIP),
    "gzip in chunks": in_chunks(gzip.compress(LARGE), headers=GZIP),
    "gzip of many members": with_length(gzip.compress(bytes(MAX_BODY // 10)) * 11, GZIP),
    "deflate": with_length(zlib.compress(LARGE), DEFLATE),
    "blocks that unfold to nothing": OK + DEFLATE + b"\r\n" + b"\0\0\0\xff\xff" * MAX_BODY,
}


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_body_that_is_too_large(sent: bytes) -> None:
    reading = parser()
    with pytest.raises(ResponseTooLarge):  # noqa: PT012 - at some segment
        for start in range(0, len(sent), 65_536):
            reading.feed(sent[start : start + 65_536])


@pytest.mark.parametrize("send", [with_length, in_chunks, lambda body: with_length(gzip.compress(body), GZIP)])
def test_a_body_of_exactly_the_size_allowed(send: Callable[[bytes], bytes]) -> None:
    assert len(read(send(bytes(MAX_BODY)))[0].body) == MAX_BODY


@pytest.mark.parametrize("before", [0, MAX_BODY, MAX_BODY + 1])
def test_a_bomb_never_unfolds(before: int) -> None:
    """Some kilobytes of gzip stand for 64 MB, behind a member of a size that just fits, or just does not."""
    bomb = with_length(gzip.compress(bytes(before)) + gzip.compress(bytes(2**26)), GZIP)
    reading = parser()
    tracemalloc.start()
    with pytest.raises(ResponseTooLarge):
        reading.feed(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MAX_BODY


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_any_bytes_are_an_answer_or_refused(segments: list[bytes]) -> None:
    reading = parser()
    try:
        for segment in segments:
            if reading.feed(segment):
                break
    except CallFailed:
        pass


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("pieces", [1, 10])
def test_a_connection_keeps_nothing_of_a_body_that_it_delivered(compressed: bool, pieces: int) -> None:
    size = MAX_BODY // 2
    sent = with_length(gzip.compress(bytes(size), 0), GZIP) if compressed else with_length(bytes(size))
    step = -(-len(sent) // pieces)
    reading = parser()
    tracemalloc.start()
    try:
        for start in range(0, len(sent), step):
            reading.feed(sent[start : start + step])
        before = tracemalloc.get_traced_memory()[0]
        reading.response()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert before >= size
    assert kept < size / 20


@pytest.mark.parametrize("headers", [b"", GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("count", "size", "is_refused"),
    [(MAX_SMALL_CHUNKS, 1, False), (MAX_SMALL_CHUNKS + 1_000, 1, True), (MAX_SMALL_CHUNKS + 5_000, 64, False)],
)
def test_a_body_may_come_in_so_many_small_chunks(headers: bytes, count: int, size: int, is_refused: bool) -> None:
    """Each chunk takes time and memory, however little is in it."""
    whole = b"x" * (count * size - 100)
    body = zlib.compress(whole, 0, wbits=16 + zlib.MAX_WBITS) if headers else whole
    sent = in_chunks(*(body[start : start + size] for start in range(0, len(body), size)), headers=headers)
    reading = ResponseParser(4 * 2**20)
    if is_refused:
        with pytest.raises(InvalidResponse, match="too many small chunks"):
            reading.feed(sent)
        return
    assert reading.feed(sent)
    assert reading.response().body == whole
