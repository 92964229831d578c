"""A server that sends exactly the bytes a test says, when the test says it, on plain sockets and TLS.

Reading and accepting happen in threads; writing is a blocking call of the test's own. So what is written lies in the
client's socket when `write` returns, without the event loop having run.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 10  # seconds until a test that hangs fails


_threads = ThreadPoolExecutor(256, "raw server")  # one for each connection that is waited for
T = TypeVar("T")


async def in_thread(blocking: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, blocking)


@contextlib.contextmanager
def stalled_port() -> Iterator[int]:
    """Give a port whose server never takes a connection: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def answer(body: bytes = b"{}", status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Return an answer with a length."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


def answer_to(request: bytes) -> bytes:
    """Return an answer whose body is the target of the request it belongs to."""
    return answer(request.split(b" ")[1])


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock

    def write(self, data: bytes) -> None:
        self._sock.sendall(data)

    def reset(self) -> None:
        """End the connection with an RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        """End the connection with a FIN, on TLS without a word."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def close_politely(self) -> None:
        """End the connection as its protocol asks for: on TLS with close_notify."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.settimeout(0.0)
            with contextlib.suppress(OSError):
                self._sock.unwrap()
        self.close()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        await in_thread(self._sock.do_handshake)

    async def request(self) -> bytes:
        """Read one request."""
        return await in_thread(self._request)

    async def head(self) -> bytes:
        """Read a request as far as its body, or a little further."""
        return await in_thread(self._head)

    def _head(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        return data

    def _request(self) -> bytes:
        head, _, body = self._head().partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += self._receive()
        return head + b"\r\n\r\n" + body

    def _receive(self) -> bytes:
        data = self._sock.recv(65_536)
        if not data:
            raise EOFError
        return data

    async def ended(self) -> bool:
        """Wait until the client ends the connection; whatever it sends before is dropped."""
        return await in_thread(self._ended)

    def _ended(self) -> bool:
        try:
            while self._sock.recv(65_536):
                pass
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        return True

    def stop(self) -> None:
        self._sock.close()


class RawServer:
    """Listens on loopback; every connection is taken by the test."""

    def __init__(self, tls: ssl.SSLContext | None = None, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._tls = tls
        self._listener = socket.socket(family)
        self._listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self._listener.listen(128)
        self._listener.settimeout(PATIENCE)
        self._peers: list[Peer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        """What `serving` has read."""

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def receive_little(self) -> None:
        """Keep the kernel from taking more than a few kilobytes that the test has not read, from now on."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def accept(self) -> Peer:
        """Take the next connection."""
        sock, _ = await in_thread(self._listener.accept)
        peer = Peer(sock)
        self._peers.append(peer)
        if self._tls is not None:
            await peer.start_tls(self._tls)
        return peer

    def serving(self, respond: Callable[[bytes], bytes] = answer_to) -> None:
        """From now on take every connection, and answer every request on it."""
        self._tasks.append(asyncio.create_task(self._serve(respond)))

    def answering(self, peer: Peer, respond: Callable[[bytes], bytes] = answer_to) -> None:
        """From now on answer every request on one connection."""
        self._tasks.append(asyncio.create_task(self._answer(peer, respond)))

    async def _serve(self, respond: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.answering(await self.accept(), respond)

    async def _answer(self, peer: Peer, respond: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = await peer.request()
                self.requests.append(request)
                peer.write(respond(request))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for peer in self._peers:
            peer.close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for task in self._tasks:
            await task
        for peer in self._peers:
            peer.stop()
        self._listener.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority for tests, with a server's and a client's certificate."""

    folder: Path
    """Has ``root.pem``, and ``server.pem``, ``client.pem`` and ``expired.pem``: each a key and its certificate."""
    server: ssl.SSLContext
    client: ssl.SSLContext
    server_that_asks: ssl.SSLContext
    """Requires a client certificate."""
    client_with_certificate: ssl.SSLContext

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        root = _certificate("test root", key, None, key)
        (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        for name in ("server", "client", "expired"):
            own = ec.generate_private_key(ec.SECP256R1())
            certificate = _certificate(name, own, root, key)
            (folder / f"{name}.pem").write_bytes(
                own.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
        contexts = []
        for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT) * 2:
            context = ssl.SSLContext(purpose)
            context.load_verify_locations(folder / "root.pem")
            contexts.append(context)
        contexts[0].load_cert_chain(folder / "server.pem")
        contexts[2].load_cert_chain(folder / "server.pem")
        contexts[2].verify_mode = ssl.CERT_REQUIRED
        contexts[3].load_cert_chain(folder / "client.pem")
        return cls(folder, *contexts)


def _certificate(
    name: str, own: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=issuer is None,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1, hours=-25 if name == "expired" else 0))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    return builder.sign(key, hashes.SHA256())
