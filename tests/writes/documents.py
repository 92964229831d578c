"""The three mutations as documents, and how tests send them."""

from typing import Any

from gateway.sandbox import Sandbox
from tests.harness import Gateway

UPDATE = """
mutation Update($input: UpdateThreadInput!) {
  updateThread(input: $input) {
    outcome userErrors { field code message } thread { id status tags reminder { delay numberLeft } customers { id } }
  }
}
"""
SEND = """
mutation Send($input: CreateMessageInput!) {
  createMessage(input: $input) {
    outcome userErrors { field code message } message { id content externalMessageId } thread { id messageCount }
  }
}
"""
TOKEN = """
mutation Token($input: CreateChatTokenInput!) {
  createChatToken(input: $input) { outcome userErrors { field code message } token expiresAt }
}
"""
ASK = """
query Ask($thread: ID!, $key: String!) {
  messageOutcome(threadId: $thread, idempotencyKey: $key) { outcome message { content } thread { id } }
}
"""


def update(gateway: Gateway, **given: Any) -> Any:
    """Return the payload of an update of th-1, which has no errors."""
    return gateway.data(UPDATE, input={"id": "th-1", **given})["updateThread"]


def send(gateway: Gateway, **given: Any) -> Any:
    """Return the payload of a message to th-1, which has no errors."""
    return gateway.data(SEND, input={"threadId": "th-1", **given})["createMessage"]


def token(gateway: Gateway, **given: Any) -> Any:
    """Return the payload of a token, which has no errors."""
    return gateway.data(TOKEN, input=given)["createChatToken"]


def ask(gateway: Gateway, key: str, thread: str = "th-1") -> Any:
    """Return what is known of a message by now."""
    return gateway.data(ASK, thread=thread, key=key)["messageOutcome"]


def writes(sandbox: Sandbox) -> int:
    """Return how many writes have arrived."""
    return sum(sandbox.count(route) for route in ("update_thread", "message", "chat_token"))
