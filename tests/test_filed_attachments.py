"""AttachmentMovedTo.customer: the customer to whom an attachment was filed, out of the thread's own, without a call."""

from typing import Any

import pytest

from gateway.sandbox import ABSENT, Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.limits.test_cost import ask, cost_of

FILED = "attachments { id attachmentMovements { movements { customerId customer { id externalId firstName } } } }"
EVERYWHERE = f"""{{ thread(id: "th-1") {{
  customers {{ id externalId firstName }}
  {FILED}
  lastMessage {{ id {FILED} }}
  messages(last: 1) {{ nodes {{ id {FILED} }} edges {{ node {{ id {FILED} }} }} }}
}} }}"""


def file_to(sandbox: Sandbox, customer_id: object, **thread: object) -> None:
    """Let the first movement of the first attachment name this customer, wherever the attachment is."""
    place = "attachments.0.attachment_movements.movements.0.customer_id"
    thread_patch = {place: customer_id, f"last_message.{place}": customer_id, **thread}
    sandbox.faults.add(
        Fault("thread", "th-1", patch=thread_patch), Fault("messages", patch={f"messages.*.{place}": customer_id})
    )


def found(data: Any) -> list[Any]:
    """Return the first movement of the first attachment, from each place where it is."""
    thread = data["thread"]
    (node,), (edge,) = thread["messages"]["nodes"], thread["messages"]["edges"]
    holders = [thread, thread["lastMessage"], node, edge["node"]]
    return [each["attachments"][0]["attachmentMovements"]["movements"][0] for each in holders]


def test_a_customer_of_the_thread_is_found_wherever_the_attachment_is(gateway: Gateway, sandbox: Sandbox) -> None:
    file_to(sandbox, "c0005")
    response = ask(gateway, EVERYWHERE)
    data = response.json()["data"]
    (customer,) = [each for each in data["thread"]["customers"] if each["id"] == "c0005"]
    assert found(data) == [{"customerId": "c0005", "customer": customer}] * 4
    assert sandbox.count("customer") == 0
    assert cost_of(response)[1] == 2


@pytest.mark.parametrize("customer_id", ["c9999", "", None, ABSENT])
def test_any_other_customer_is_null(gateway: Gateway, sandbox: Sandbox, customer_id: object) -> None:
    file_to(sandbox, customer_id)
    assert [each["customer"] for each in found(gateway.data(EVERYWHERE))] == [None] * 4


def test_a_customer_of_another_thread_of_the_operation_is_null(gateway: Gateway, sandbox: Sandbox) -> None:
    document = f'{{ a: thread(id: "th-1") {{ {FILED} }} b: thread(id: "th-4") {{ customers {{ id }} }} }}'
    (other,) = [each["id"] for each in gateway.data(document)["b"]["customers"]][:1]
    file_to(sandbox, other, **{"customers.0.id": "c0001"})
    first = gateway.data(document)["a"]["attachments"][0]["attachmentMovements"]["movements"][0]
    assert (first["customerId"], first["customer"]) == (other, None)


def test_a_profile_of_a_filed_customer_costs_its_call(gateway: Gateway, sandbox: Sandbox) -> None:
    file_to(sandbox, "c0005")
    movements = "attachments { attachmentMovements { movements { customer { profile { customer { id } } } } } }"
    response = ask(gateway, f'{{ thread(id: "th-1") {{ {movements} }} }}')
    movement = response.json()["data"]["thread"]["attachments"][0]["attachmentMovements"]["movements"][0]
    assert movement["customer"]["profile"]["customer"]["id"] == "c0005"
    predicted, made = cost_of(response)
    assert predicted >= made


def test_customers_without_an_id_are_passed_over(gateway: Gateway, sandbox: Sandbox) -> None:
    file_to(sandbox, "c0005", **{"customers.0": 7, "customers.1": None})
    document = f'{{ thread(id: "th-1") {{ {FILED} }} }}'
    movement = gateway.data(document)["thread"]["attachments"][0]["attachmentMovements"]["movements"][0]
    assert movement["customer"]["id"] == "c0005"


def test_customers_that_are_no_list_are_one_error_at_the_customer(gateway: Gateway, sandbox: Sandbox) -> None:
    file_to(sandbox, "c0005", customers="none")
    (error,) = gateway.query(f'{{ thread(id: "th-1") {{ {FILED} }} }}')["errors"][:1]
    assert error["path"][-1] == "customer"
    assert error["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"


def test_a_message_has_the_same_fields_wherever_it_is_reached(gateway: Gateway) -> None:
    """A normalised cache merges them: what one place lacked would vanish from the other."""
    introspection = '{ __type(name: "Message") { fields { name type { kind ofType { kind ofType { kind } } } } } }'
    leaves = [
        each["name"]
        for each in gateway.data(introspection)["__type"]["fields"]
        if each["name"] not in {"attachments", "__typename"}
    ]
    attachment = "id fileName fileMime fileNotDangerous fileSize fileType attachmentMovements { total movements "
    attachments = attachment + "{ agentId customerId fileId customer { id firstName } } }"
    message = f"{{ {' '.join(leaves)} attachments {{ {attachments} }} }}"
    thread = gateway.data(
        f'{{ thread(id: "th-1") {{ attachments {{ {attachments} }} lastMessage {message}'
        f" messages(last: 1) {{ nodes {message} edges {{ node {message} }} }} }} }}"
    )["thread"]
    last, page = thread["lastMessage"], thread["messages"]
    assert page["nodes"] == [last]
    assert [edge["node"] for edge in page["edges"]] == [last]
    by_id = {each["id"]: each for each in thread["attachments"]}
    assert last["attachments"]
    assert [by_id.get(each["id"], each) for each in last["attachments"]] == last["attachments"]


def test_the_message_of_a_mutation_finds_the_customers_of_its_thread(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(mutations=True)
    document = f"""mutation ($input: CreateMessageInput!) {{
      createMessage(input: $input) {{ outcome message {{ {FILED} }} }}
    }}"""
    filed = [{"id": "at-1", "attachment_movements": {"movements": [{"customer_id": "c0005"}]}}]
    sandbox.faults.add(Fault("thread", patch={"last_message.attachments": filed}))
    given = {"threadId": "th-1", "content": "x"}
    answer = gateway.data(document, input=given)["createMessage"]
    assert answer["outcome"] == "APPLIED"
    (movement,) = answer["message"]["attachments"][0]["attachmentMovements"]["movements"]
    assert movement["customer"]["id"] == "c0005"
