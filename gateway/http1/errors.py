"""How a call over HTTP/1.1 can fail.

    CallFailed
    ├── InvalidRequest      the request cannot be sent as it is; nothing was sent
    ├── ConnectFailed       no connection: refused, unresolved, TLS or the proxy said no; nothing was sent
    ├── ConnectTimedOut     no connection within the connect timeout; nothing was sent
    ├── OutOfDescriptors    the process or the machine has no file descriptor left; nothing was sent
    ├── ReadTimedOut        no byte of the response for the read timeout; the request may have been carried out
    ├── ConnectionBroken    the connection ended before the response did; its flags say what is known
    │   └── StrayResponse     more than one response came to one request, and none of them can be trusted
    ├── InvalidResponse       the response is not HTTP/1.1, or its header section is too large
    └── ResponseTooLarge      the body, decompressed, is larger than allowed

No text holds an address, a credential or a byte of the response.
"""


class CallFailed(Exception):
    """A call got no response.

    ``request_sent`` is False only where no byte of the request can have left. Where it is True, nobody knows whether
    the server carried the request out.
    """

    request_sent: bool = True


class InvalidRequest(CallFailed):
    """The request has a character that would end its line, or a header that belongs to the pool."""

    request_sent = False


class ConnectFailed(CallFailed):
    """No connection could be opened."""

    request_sent = False


class ConnectTimedOut(CallFailed):
    """No connection could be opened within the connect timeout."""

    request_sent = False


class OutOfDescriptors(CallFailed):
    """No socket could be created: too many files are open. The origin has no part in it."""

    request_sent = False


class ReadTimedOut(CallFailed):
    """No byte came for as long as the read timeout."""


class ConnectionBroken(CallFailed):
    """The connection ended before the response did.

    ``response_begun`` says whether a byte came that belongs to the response.
    """

    def __init__(self, text: str, *, request_sent: bool, response_begun: bool) -> None:
        super().__init__(text)
        self.request_sent = request_sent
        self.response_begun = response_begun


class StrayResponse(ConnectionBroken):
    """Bytes followed the response at once: of two responses to one request, which one is its own is unknown."""

    def __init__(self) -> None:
        super().__init__("More than one response came to one request.", request_sent=True, response_begun=True)


class InvalidResponse(CallFailed):
    """The response breaks the protocol, or a bound of its header section."""


class ResponseTooLarge(CallFailed):
    """The body is larger than ``most`` bytes, as sent or after decompression."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The body of the response is larger than {most} bytes.")
        self.most = most
