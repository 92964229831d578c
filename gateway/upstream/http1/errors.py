"""How a call over HTTP/1.1 can fail.

    CallFailed
    ├── InvalidRequest      the request cannot be sent as it is; nothing was sent
    ├── ConnectFailed       no connection: refused, unresolved, TLS or the proxy said no; nothing was sent
    ├── ConnectTimedOut     no connection within the connect timeout; nothing was sent
    ├── OutOfDescriptors    the process or the machine has no file descriptor left; nothing was sent
    ├── ReadTimedOut        no byte of the answer for the read timeout; the request may have been carried out
    ├── ConnectionBroken    the connection ended before the answer did; its flags say what is known
    │   └── StrayAnswer     more than one answer came to one request, and none of them can be trusted
    ├── InvalidAnswer       the answer is not HTTP/1.1, or its header section is too large
    └── AnswerTooLarge      the body, decompressed, is larger than allowed

No text holds an address, a credential or a byte of the answer.
"""


class CallFailed(Exception):
    """A call got no answer."""


class InvalidRequest(CallFailed):
    """The request has a character that would end its line, or a header that belongs to the pool."""


class ConnectFailed(CallFailed):
    """No connection could be opened."""


class ConnectTimedOut(CallFailed):
    """No connection could be opened within the connect timeout."""


class OutOfDescriptors(CallFailed):
    """No socket could be created: too many files are open. The origin has no part in it."""


class ReadTimedOut(CallFailed):
    """No byte came for as long as the read timeout."""


class ConnectionBroken(CallFailed):
    """The connection ended before the answer did.

    ``request_sent`` is False only where no byte of the request can have left. ``answer_begun`` says whether a byte
    came that belongs to the answer.
    """

    def __init__(self, text: str, *, request_sent: bool, answer_begun: bool) -> None:
        super().__init__(text)
        self.request_sent = request_sent
        self.answer_begun = answer_begun


class StrayAnswer(ConnectionBroken):
    """Bytes followed the answer at once: of two answers to one request, which one is its own is unknown."""

    def __init__(self) -> None:
        super().__init__("More than one answer came to one request.", request_sent=True, answer_begun=True)


class InvalidAnswer(CallFailed):
    """The answer breaks the protocol, or a bound of its header section."""


class AnswerTooLarge(CallFailed):
    """The body is larger than allowed, as sent or after decompression."""
