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
from gateway.storage.uploaded_file import FILE_BYTES, UploadedFile, UploadRoom
from gateway.telemetry import logger
from gateway.upstream.writes.attachments import MAX_ATTACHMENT_BYTES
from gateway.web.graphql.uploads.file_map import Place, read_map
from gateway.web.graphql.uploads.form import FormParser, PartEnd, PartHead
from gateway.web.request import RETRY_SECONDS, BodyRoom, HeldBytes, HttpError, HttpRequest, NoRoom, RequestBody

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
    """Reads uploads. ``directory`` is where files are kept, None for that of the system; the limits are in bytes.

    ``room`` is for the files of all requests together, on the disk.
    """

    directory: Path | None
    max_operations: int
    max_files: int
    room: UploadRoom

    async def read(self, request: HttpRequest, memory: BodyRoom, parse: Callable[[bytes], dict[str, Any]]) -> Upload:
        """Return the request; ``parse`` decodes ``operations``, and its errors are raised.

        What is in memory until the upload is read takes ``memory``. Raises BadUserInput or BodyTooLarge for what is no
        upload, NoRoom, HttpError 503 where the disk fails, and ClientDisconnected. The request releases the files.
        """
        body = RequestBody(request.receive)
        try:
            with memory.holding() as held:
                return await self._read(body, _Parts(self, request, held, parse))
        except (BadUserInput, NoRoom):
            await _give_up(request, body)
            raise
        except OSError as exc:
            logger.error("an uploaded file cannot be kept", exc_info=exc)
            await _give_up(request, body)
            raise HttpError(503, UploadsUnavailable()) from exc

    async def _read(self, body: RequestBody, parts: "_Parts") -> Upload:
        parser = FormParser(parts.request.headers.get("content-type", ""))
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

    def __init__(
        self,
        limits: UploadReader,
        request: HttpRequest,
        held: HeldBytes,
        parse: Callable[[bytes], dict[str, Any]],
    ) -> None:
        self.request = request
        self._limits = limits
        self._held = held
        self._parse = parse
        self._operations: dict[str, Any] | None = None
        self._places: dict[str, Place] | None = None
        self._variables: set[str] = set()
        self._text = "operations"
        self._file: UploadedFile | None = None
        self._place: Place | None = None
        self._file_bytes = 0

    def begin(self, head: PartHead) -> None:
        """Begin a part; raise BadUserInput unless it is due, NoRoom where there is none for a file."""
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
        self._file = UploadedFile(self._limits.directory, head.filename, self._limits.room)
        self.request.uploads.append(self._file)
        _require_room(self._file, FILE_BYTES)

    async def take(self, data: bytes) -> None:
        """Take bytes of the current part; raise BodyTooLarge if it has too many, or NoRoom."""
        if self._file is None:
            most = self._limits.max_operations if self._text == "operations" else _MAX_MAP_BYTES
            if len(self._held) + len(data) > most:
                raise BodyTooLarge(f"`{self._text}` has {most} bytes at most.")
            self._held.add(data)
            return
        self._file_bytes += len(data)
        if self._file_bytes > self._limits.max_files:
            raise BodyTooLarge(f"The files of a request have {self._limits.max_files} bytes together at most.")
        if self._file.size + len(self._held) + len(data) > MAX_ATTACHMENT_BYTES:
            raise BodyTooLarge(f"A file has {MAX_ATTACHMENT_BYTES} bytes at most.")
        _require_room(self._file, len(data))
        self._held.add(data)
        if len(self._held) >= _WRITTEN_BYTES:
            await self._write(self._file)

    async def end(self) -> None:
        """End the current part."""
        if self._file is not None and self._place is not None:
            await self._write(self._file)
            self._place.put(self._file)
            self._variables.add(self._place.variable)
            self._file = None
            return
        text = self._held.body()
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
        data = self._held.body()
        await file.append(data)
        self._held.give_back(len(data))


def _require_room(file: UploadedFile, size: int) -> None:
    """Raise NoRoom unless so many bytes of a file can be kept."""
    if not file.take(size):
        text = "So many files are being uploaded at this moment that there is no room for these: send them again."
        raise NoRoom(text, retry_after=RETRY_SECONDS)


async def _give_up(request: HttpRequest, body: RequestBody) -> None:
    """Release the files at once, and read the rest of the body."""
    while request.uploads:
        request.uploads.pop().release()
    await body.discard()


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
    room = UploadRoom(settings.upload_directory_max_bytes)
    return UploadReader(directory, limits.body, limits.upload, room)
