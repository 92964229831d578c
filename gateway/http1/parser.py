"""The bytes of one response: httptools reads them, and this bounds them.

What a response may be, and everything else is refused:

- It starts with ``HTTP/1.``, its status is 100 to 599, and 101 is refused because no protocol was offered.
- At most `MAX_INTERIM` interim responses (1xx) come before it.
- Its header section has at most `MAX_HEADERS` fields and `MAX_HEADER_BYTES`; so have its trailers, which are dropped,
  and whatever else is read without a byte of the body, such as an endless chunk extension.
- Its body ends by Content-Length, by chunks, or with the connection. Content-Length beside Transfer-Encoding, two
  lengths, and a Transfer-Encoding other than ``chunked`` are refused (RFC 9112, section 6.3: request smuggling).
- Its body is at most ``max_body`` bytes, as sent and after decompression. Decompression stops at the first byte more,
  so that a small response cannot unfold into a large one.
- Its body comes in at most `MAX_SMALL_CHUNKS` chunks, and one more for each 64 bytes; and it has at most `MAX_MEMBERS`
  gzip members.

The parser also finds out whether the response ends where the bytes end. httptools starts a new message at the first
surplus byte, but skips line ends silently; those are found by the last bytes of the stream (`_ends_exactly`).
"""

import zlib

import httptools

from gateway.http1.errors import CallFailed, InvalidResponse, ResponseTooLarge
from gateway.http1.messages import Response

MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 128
MAX_INTERIM = 8
MAX_SMALL_CHUNKS = 50_000
"""4 MB in chunks of one byte took two seconds and 350 MB."""
MAX_MEMBERS = 1_000
"""180,000 empty gzip members fit into 4 MB, and took a second."""

_LINE_ENDS = b"\r\n"
_WITHOUT_BODY = frozenset({204, 304})
_LOOKED_AT = 64  # how many of the last bytes are searched for line ends


class ResponseParser:
    """Reads one response after the other from one connection; `reset` starts the next."""

    __slots__ = (
        "_decoder",
        "_fields",
        "_headers",
        "_is_head",
        "_max_body",
        "_parser",
        "_parts",
        "_piece",
        "_pieces",
        "_size",
        "_tail",
        "_unfolded",
        "_unparsed",
        "_until_close",
        "begun",
        "complete",
        "interim",
        "keep_alive",
        "status",
        "surplus",
    )

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._parser = httptools.HttpResponseParser(self)
        self.reset(is_head=False)

    def reset(self, *, is_head: bool) -> None:
        """Expect a new response; the one to a HEAD has no body, whatever its header says."""
        self._is_head = is_head
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []  # of the body, as sent
        self._unfolded: list[bytes] = []  # of the body, decompressed
        self._piece = b""  # the latest piece of the body, as sent
        self._pieces = 0
        self._tail = b""  # the last bytes before the latest segment
        self._size = 0  # of the body, as sent
        self._unparsed = 0  # bytes since the latest that told something
        self._decoder: BodyDecoder | None = None
        self._until_close = False
        self.status = 0
        self.interim = 0
        self.begun = False
        self.complete = False
        self.keep_alive = False
        self.surplus = False
        """Whether bytes follow the response that are more than line ends."""

    def feed(self, data: bytes) -> bool:
        """Read ``data`` and return whether the response is complete; raise InvalidResponse or ResponseTooLarge."""
        if not self.begun:
            self.begun = True
            if data[0] != 0x48:  # "H": httptools would skip line ends, which belong to something before this response
                raise InvalidResponse("The response does not start with a status line.")
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            raise InvalidResponse("The response switches protocols.") from exc
        except httptools.HttpParserError as exc:
            self._stopped(exc)
        if self._decoder is not None and self._parts:
            parts, self._parts = self._parts, []
            self._unfolded.append(self._decoder.decode(b"".join(parts)))
        if self.complete:
            self.keep_alive = self.keep_alive and self._ends_exactly(data)
            return True
        if self._unparsed > MAX_HEADER_BYTES or len(self._fields) > MAX_HEADERS:
            raise InvalidResponse("The header section of the response is too large.")
        self._tail = (self._tail + data[-5:])[-5:]
        return False

    def feed_eof(self) -> bool:
        """Return whether the end of the connection is the end of the response."""
        if self._until_close and self.status:
            self.complete = True
        return self.complete

    def response(self) -> Response:
        """Return the complete response, once; raise InvalidResponse where its compressed body is cut off.

        Nothing of the body is kept: a connection may be idle for a long time until `reset`.
        """
        decoder, self._decoder = self._decoder, None
        parts = self._parts if decoder is None else self._unfolded
        self._parts, self._unfolded, self._piece = [], [], b""
        if decoder is not None and not decoder.finished:
            raise InvalidResponse("The compressed body is incomplete.")
        return Response(self.status, self._headers, parts[0] if len(parts) == 1 else b"".join(parts))

    def _stopped(self, exc: httptools.HttpParserError) -> None:
        """Say why httptools stopped: our own refusal, bytes behind the response, or bytes that are no response."""
        if self.complete:
            self.surplus = self.surplus or not self._is_head
            return
        if isinstance(exc.__context__, CallFailed):
            raise exc.__context__ from None
        raise InvalidResponse("The response is not HTTP/1.1.") from exc

    def _ends_exactly(self, data: bytes) -> bool:
        """Return whether no line end follows the response; where that is uncertain, return False.

        A body with a length has as many line ends at its end as the bytes have. Anything else ends with an empty line,
        so with two line ends and no third.
        """
        if data[-1] not in _LINE_ENDS:
            return True
        if self._piece and b"transfer-encoding" not in self._headers:
            return _line_ends(data) == _line_ends(self._piece) < _LOOKED_AT
        last = (self._tail + data[-5:])[-5:]
        return last.endswith(b"\r\n\r\n") and last[0] not in _LINE_ENDS

    # what httptools calls

    def on_message_begin(self) -> None:
        """Note a second message, of which even one byte is too much."""
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the header section, or of the trailers."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the header section, and find out how the body is sent."""
        if self.complete:
            return  # of a surplus response
        parser = self._parser
        fields, self._fields = self._fields, []
        status = parser.get_status_code()
        if not 100 <= status <= 599 or parser.get_http_version() not in {"1.1", "1.0"}:
            raise InvalidResponse("The status line of the response makes no sense.")
        _check_size(fields, at_most=self._unparsed)
        self._unparsed = 0
        if status < 200:
            self.interim += 1
            if self.interim > MAX_INTERIM:
                raise InvalidResponse("Too many interim responses came before the response.")
            return
        self.status = status
        self._headers = _merged(fields)
        self._read_framing()

    def _read_framing(self) -> None:
        headers = self._headers
        coding = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        if coding is not None and coding.lower() != b"chunked":
            raise InvalidResponse("The response has a Transfer-Encoding that was not asked for.")
        if self._is_head:
            self.complete = True
            raise _NoBodyFollowsError  # httptools would wait for the body
        if self.status in _WITHOUT_BODY:
            return
        if length is not None and int(length) > self._max_body:
            raise ResponseTooLarge(self._max_body)
        self._until_close = coding is None and length is None
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            self._decoder = BodyDecoder(encoding.lower(), self._max_body)

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        if self.complete:
            return  # of a surplus response
        self._unparsed = 0
        self._piece = piece
        self._pieces += 1
        self._size += len(piece)
        if self._size > self._max_body and self._decoder is None:
            raise ResponseTooLarge(self._max_body)
        if self._pieces > MAX_SMALL_CHUNKS and self._pieces > MAX_SMALL_CHUNKS + self._size // 64:
            raise InvalidResponse("The response comes in too many small chunks.")
        self._parts.append(piece)

    def on_message_complete(self) -> None:
        """Note the end of the response, or of an interim one."""
        if self.status and not self.complete:
            if self._fields:
                _check_size(self._fields)  # the trailers
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


class _NoBodyFollowsError(Exception):
    """Stops httptools behind the header section."""


class BodyDecoder:
    """Decompresses a body piece by piece, and never more than ``room`` bytes of it."""

    def __init__(self, encoding: bytes, room: int) -> None:
        if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
            raise InvalidResponse("The response has a Content-Encoding that was not asked for.")
        self._is_gzip = encoding != b"deflate"
        self._max_body = self._room = room
        self._room_as_sent = room + MAX_HEADER_BYTES
        self._start = b""
        self._members_left = MAX_MEMBERS
        self._decompressor: zlib._Decompress | None = None

    @property
    def finished(self) -> bool:
        """Whether the compressed data ended; no data at all is an empty body."""
        if self._decompressor is None:
            return not self._start
        return self._decompressor.eof

    def decode(self, data: bytes) -> bytes:
        """Return what ``data`` unfolds to; raise InvalidResponse or ResponseTooLarge."""
        self._room_as_sent -= len(data)
        if self._room_as_sent < 0:  # blocks that unfold to nothing cost time all the same
            raise ResponseTooLarge(self._max_body)
        if self._decompressor is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return b""
            self._decompressor = zlib.decompressobj(self._window(data))
        unfolded = []
        try:
            while data:
                if self._decompressor.eof:
                    self._decompressor = self._next_member()
                piece = self._decompressor.decompress(data, self._room + 1)
                self._room -= len(piece)
                if self._room < 0:
                    raise ResponseTooLarge(self._max_body)
                unfolded.append(piece)
                data = self._decompressor.unused_data
        except zlib.error as exc:
            raise InvalidResponse("The compressed body is damaged.") from exc
        return b"".join(unfolded)

    def _window(self, start: bytes) -> int:
        """Return zlib's parameter: gzip, zlib, or what many servers send as deflate, which has no header."""
        if self._is_gzip:
            return 16 + zlib.MAX_WBITS
        has_header = start[0] & 15 == 8 and int.from_bytes(start[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS

    def _next_member(self) -> "zlib._Decompress":
        """Return the decompressor of the next gzip member (RFC 1952, section 2.2)."""
        if not self._is_gzip:
            raise InvalidResponse("The compressed body goes on behind its end.")
        self._members_left -= 1
        if self._members_left == 0:
            raise InvalidResponse(f"The compressed body has more than {MAX_MEMBERS} members.")
        return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _check_size(fields: list[tuple[bytes, bytes]], at_most: int = MAX_HEADER_BYTES + 1) -> None:
    """Raise InvalidResponse for too large a section; the bytes are counted unless they are few ``at_most``."""
    if len(fields) > MAX_HEADERS or (
        at_most > MAX_HEADER_BYTES and sum(len(name) + len(value) for name, value in fields) > MAX_HEADER_BYTES
    ):
        raise InvalidResponse("The header section of the response is too large.")


def _merged(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the fields by name; several of one name become one list (RFC 9110, section 5.3)."""
    headers = {name.lower(): value for name, value in fields}
    if len(headers) == len(fields):
        return headers
    headers = {}
    for name, value in fields:
        key = name.lower()
        headers[key] = headers[key] + b", " + value if key in headers else value
    return headers


def _line_ends(data: bytes) -> int:
    """Return how many line end bytes ``data`` ends with, of the last few."""
    last = data[-_LOOKED_AT:]
    return len(last) - len(last.rstrip(_LINE_ENDS))
