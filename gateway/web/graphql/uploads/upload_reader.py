"""Reads an upload: ``operations``, then ``map``, then the files, which go to the disk as they arrive.

What is wrong with one of them is known before the next is read. After an error the rest of the body is discarded.
"""

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.errors import BadUserInput, BodyTooLarge, ConfigurationError, UploadsUnavailable
from gateway.settings import GraphQLSettings, LimitSettings
from gateway.storage.uploaded_file import UploadedFile
from gateway.telemetry import logger
from gateway.upstream.writes.attachments import MAX_ATTACHMENT_BYTES
from gateway.web.graphql.uploads.file_map import Place, read_map
from gateway.web.graphql.uploads.form import FormParser, PartEnd, PartHead
from gateway.web.request import HttpError, HttpRequest, RequestBody

_MAX_MAP_BYTES = 16 * 1024
_MAX_FRAMING_BYTES = 256 * 1024  # boundaries and heads of parts, and what is before the first and after the last
_WRITTEN_BYTES = 256 * 1024
"""How much of a file is in memory before it is written."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A request with its files in place."""

    operations: dict[str, Any] = field(repr=False)
    variables: Collection[str] = field(repr=False)
    """The names of the variables with files."""


@dataclass(frozen=True, slots=True)
class UploadReader:
    """Reads uploads. ``directory`` is where files are kept, None for that of the system; the limits are in bytes."""

    directory: Path | None
    max_operations: int
    max_files: int

    async def read(self, request: HttpRequest, parse: Callable[[bytes], dict[str, Any]]) -> Upload:
        """Return the request; ``parse`` decodes ``operations``, and its errors are raised.

        Raises BadUserInput or BodyTooLarge for what is no upload, HttpError 503 where the disk fails, and
        ClientDisconnected. The files belong to the request, which releases them.
        """
        body = RequestBody(request.receive)
        try:
            return await self._read(request, body, parse)
        except BadUserInput:
            await body.discard()
            raise
        except OSError as exc:
            logger.error("an uploaded file cannot be kept", exc_info=exc)
            await body.discard()
            raise HttpError(503, UploadsUnavailable()) from exc

    async def _read(self, request: HttpRequest, body: RequestBody, parse: Callable[[bytes], dict[str, Any]]) -> Upload:
        parser = FormParser(request.headers.get("content-type", ""))
        parts = _Parts(self, request, parse)
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > self.max_operations + _MAX_MAP_BYTES + self.max_files + _MAX_FRAMING_BYTES:
                raise BodyTooLarge("The request's body is too large for an upload.")
            for event in parser.feed(chunk):
                match event:
                    case PartHead():
                        parts.begin(event)
                    case PartEnd():
                        await parts.end()
                    case bytes():
                        await parts.take(event)
        parser.finish()
        return parts.upload()


class _Parts:
    """The parts of one upload, in their order."""

    def __init__(self, limits: UploadReader, request: HttpRequest, parse: Callable[[bytes], dict[str, Any]]) -> None:
        self._limits = limits
        self._request = request
        self._parse = parse
        self._operations: dict[str, Any] | None = None
        self._places: dict[str, Place] | None = None
        self._variables: set[str] = set()
        self._text = "operations"
        self._file: UploadedFile | None = None
        self._place: Place | None = None
        self._buffer = bytearray()
        self._file_bytes = 0

    def begin(self, head: PartHead) -> None:
        """Begin a part; raise BadUserInput unless it is due."""
        if self._operations is None or self._places is None:
            self._text = "operations" if self._operations is None else "map"
            if head.name != self._text:
                raise BadUserInput("The parts of an upload are `operations`, then `map`, then the files.")
            return
        if head.name not in self._places:
            raise BadUserInput("Each part after `map` is a file that `map` names, and comes once.")
        if head.filename is None:
            raise BadUserInput("A part with a file has a `filename` in its Content-Disposition.")
        self._place = self._places.pop(head.name)
        self._file = UploadedFile(self._limits.directory, head.filename)
        self._request.uploads.append(self._file)

    async def take(self, data: bytes) -> None:
        """Take bytes of the current part; raise BodyTooLarge if it has too many."""
        self._buffer += data
        if self._file is None:
            most = self._limits.max_operations if self._text == "operations" else _MAX_MAP_BYTES
            if len(self._buffer) > most:
                raise BodyTooLarge(f"`{self._text}` has {most} bytes at most.")
            return
        self._file_bytes += len(data)
        if self._file_bytes > self._limits.max_files:
            raise BodyTooLarge(f"The files of a request have {self._limits.max_files} bytes together at most.")
        if self._file.size + len(self._buffer) > MAX_ATTACHMENT_BYTES:
            raise BodyTooLarge(f"A file has {MAX_ATTACHMENT_BYTES} bytes at most.")
        if len(self._buffer) >= _WRITTEN_BYTES:
            await self._write(self._file)

    async def end(self) -> None:
        """End the current part."""
        if self._file is not None and self._place is not None:
            await self._write(self._file)
            self._place.put(self._file)
            self._variables.add(self._place.variable)
            self._file = None
            return
        text = bytes(self._buffer)
        self._buffer.clear()
        if self._operations is None:
            self._operations = self._parse(text)
        else:
            self._places = read_map(text, self._operations)

    def upload(self) -> Upload:
        """Return the upload; raise BadUserInput if a part is missing."""
        if self._operations is None or self._places is None:
            raise BadUserInput("An upload has the parts `operations` and `map`, and then its files.")
        if self._places:
            raise BadUserInput(f"{len(self._places)} of the files that `map` names did not come.")
        return Upload(self._operations, self._variables)

    async def _write(self, file: UploadedFile) -> None:
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            await file.append(data)


def build_upload_reader(settings: GraphQLSettings, limits: LimitSettings) -> UploadReader:
    """Return the reader; raise ConfigurationError where the folder of the setting takes no files and mutations run.

    Without the setting that is a warning: a gateway that gets no files needs no folder.
    """
    directory = settings.upload_directory
    if settings.mutations:
        try:
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as exc:
            if directory is not None:
                problem = "GATEWAY_UPLOAD_DIRECTORY must be a folder in which the gateway may create files."
                raise ConfigurationError([problem]) from exc
            logger.warning("uploads are refused: there is no folder for temporary files; set GATEWAY_UPLOAD_DIRECTORY")
    return UploadReader(directory, limits.body, limits.upload)
