"""The messages of ``graphql-transport-ws``: reads a client's, and writes the gateway's (graphql-ws, PROTOCOL.md).

A message's payload is kept as it was sent until its type says what to do with it. So a pong carries the very bytes of
its ping, and a number in them stays as long as it is.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from gateway.errors import BadUserInput, Unauthenticated
from gateway.execution.documents.persisted import document_name

API_KEY_HEADER = "x-api-key"
SUBPROTOCOL = "graphql-transport-ws"
ACK = '{"type":"connection_ack"}'
PING = '{"type":"ping"}'

_MAX_ID_CHARACTERS = 256
_FROM_CLIENTS = ("connection_init", "ping", "pong", "subscribe", "complete")
_WITH_ID = ("subscribe", "complete")


class Credentials(NamedTuple):
    """What an `Authenticator` takes: the values of the headers ``Authorization`` and ``X-API-Key``."""

    authorization: str | None = None
    api_key: str | None = None

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return "Credentials()"


class InvalidMessage(Exception):
    """A message that is not of the protocol; the text is the reason of close code 4400."""


class ClientMessage(msgspec.Struct, frozen=True):
    """A message of a client. ``payload`` is empty where there is none."""

    type: str
    id: Any = None
    payload: msgspec.Raw = msgspec.Raw()

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential."""
        return f"ClientMessage({self.type})"

    def fields(self) -> dict[str, Any]:
        """Return the payload's fields; none where it is absent or null."""
        payload = bytes(self.payload)
        fields: dict[str, Any] | None = msgspec.json.decode(payload) if payload else None
        return fields or {}


_decode = msgspec.json.Decoder(ClientMessage).decode


def read(text: str | bytes) -> ClientMessage:
    """Return a client's message; InvalidMessage where the protocol has none like it."""
    try:
        message = _decode(text)
        payload = _payload(message.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage("The message is not a JSON object with a type") from exc
    if message.type not in _FROM_CLIENTS:
        raise InvalidMessage("The type of the message is not one of a client")
    if not (payload is None or isinstance(payload, dict)):
        raise InvalidMessage("The payload of the message is not an object")
    if message.type in _WITH_ID:
        _require_id(message.id)
    if message.type == "subscribe":
        _require_operation(payload)
    return message


def _payload(raw: msgspec.Raw) -> Any:
    encoded = bytes(raw)
    return msgspec.json.decode(encoded) if encoded else None


def _require_id(identifier: Any) -> None:
    if not isinstance(identifier, str) or not 1 <= len(identifier) <= _MAX_ID_CHARACTERS:
        raise InvalidMessage(f"The id of the message is not a string of 1 to {_MAX_ID_CHARACTERS} characters")


def _require_operation(payload: Any) -> None:
    """Check the types of an operation's parameters. A document may also be named by its hash, without `query`."""
    if payload is None:
        raise InvalidMessage("The message has no payload")
    query, name = payload.get("query"), payload.get("operationName")
    if not isinstance(query, str) and not (query is None and _names_a_document(payload)):
        raise InvalidMessage("The query of the payload is not a string")
    if not isinstance(name, str | None):
        raise InvalidMessage("The operationName of the payload is not a string")
    for field in ("variables", "extensions"):
        if not isinstance(payload.get(field), dict | None):
            raise InvalidMessage(f"The {field} of the payload are not an object")


def _names_a_document(payload: dict[str, Any]) -> bool:
    try:
        return document_name(payload.get("documentId"), payload.get("extensions")) is not None
    except (BadUserInput, AttributeError):
        return True  # a name that is wrong is answered with an error


def pong(payload: msgspec.Raw) -> str:
    """Return the answer to a ping."""
    text = bytes(payload).decode()
    return f'{{"type":"pong","payload":{text}}}' if text else '{"type":"pong"}'


def next_prefix(identifier: str) -> bytes:
    """Return how each ``next`` of an operation begins; the result and a brace follow."""
    return b'{"id":' + msgspec.json.encode(identifier) + b',"type":"next","payload":'


def complete(identifier: str) -> str:
    """Return the end of an operation."""
    return msgspec.json.encode({"id": identifier, "type": "complete"}).decode()


def error(identifier: str, errors: list[dict[str, Any]]) -> str:
    """Return an ``error``, after which no other message of the operation follows."""
    return msgspec.json.encode({"id": identifier, "type": "error", "payload": errors}).decode()


def credentials_of(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Credentials:
    """Return the credentials of ``connection_init``, or those of the handshake, which a browser's page cannot set.

    The payload has them as ``authorization`` or ``x-api-key``, in any case, or as a token that a router passes on in
    ``connectionParams``. Raises Unauthenticated where one is not a string.
    """
    given = {name.lower(): value for name, value in payload.items()}
    authorization, api_key = given.get("authorization"), given.get(API_KEY_HEADER)
    if authorization is None and isinstance(parameters := given.get("connectionparams"), dict):
        token = parameters.get("token")
        is_bare = isinstance(token, str) and " " not in token.strip()
        authorization = f"Bearer {token}" if is_bare else token
    if not isinstance(authorization, str | None) or not isinstance(api_key, str | None):
        raise Unauthenticated("The credentials in the payload must be strings.")
    if authorization is None and api_key is None:
        return Credentials(headers.get("authorization"), headers.get(API_KEY_HEADER))
    return Credentials(authorization, api_key)
