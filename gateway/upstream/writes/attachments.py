"""Request bodies with attachments: the REST API takes files in Base64 within JSON, which is made while it is sent."""

import base64
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from gateway.storage.uploaded_file import UploadedFile

MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""What the REST API takes of one attachment."""

_PIECE_BYTES = 192 * 1024  # a multiple of 3, so that the Base64 of the pieces is that of the whole


@dataclass(frozen=True, slots=True)
class StreamedJson:
    """JSON with files in Base64. It never is in memory as a whole."""

    parts: tuple[bytes | UploadedFile, ...] = field(repr=False)

    @property
    def files(self) -> Iterator[UploadedFile]:
        """The files in it."""
        return (part for part in self.parts if isinstance(part, UploadedFile))

    @property
    def length(self) -> int:
        """Its size in bytes."""
        return sum(len(part) if isinstance(part, bytes) else -(-part.size // 3) * 4 for part in self.parts)

    @property
    def fingerprint(self) -> bytes:
        """The JSON with a hash in place of each file: equal for equal contents. Base64 never has a colon."""
        return b"".join(part if isinstance(part, bytes) else f"sha256:{part.digest}".encode() for part in self.parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it from its beginning."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            for offset in range(0, part.size, _PIECE_BYTES):
                yield base64.b64encode(await part.read(offset, _PIECE_BYTES))


Content: TypeAlias = bytes | StreamedJson
"""The body of a write."""


def json_of(body: Mapping[str, Any]) -> Content:
    """Return the JSON of a body, in which an UploadedFile stands for its Base64.

    Raises UnicodeEncodeError for text that JSON cannot carry.
    """
    mark = secrets.token_hex(16)  # random, so that no text of the caller can look like it
    files: list[UploadedFile] = []

    def marked(value: Any) -> str:
        if not isinstance(value, UploadedFile):
            raise TypeError(f"not JSON: {type(value)}")
        files.append(value)
        return mark

    text = msgspec.json.encode(body, enc_hook=marked)
    if not files:
        return text
    texts = text.split(mark.encode())
    parts: list[bytes | UploadedFile] = [texts[0]]
    for file, following in zip(files, texts[1:], strict=True):
        parts += [file, following]
    return StreamedJson(tuple(parts))
