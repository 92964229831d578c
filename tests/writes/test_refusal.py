"""Which field of the input an error of the REST API blames."""

import msgspec
import pytest

from gateway.http1 import Response
from gateway.schema.inputs import CreateMessageInput, UpdateThreadInput, rest_names
from gateway.upstream.writes.outcome import Outcome
from gateway.upstream.writes.refusal import refusal


def fields_of(code: str, message: object, names: object = None) -> list[list[str]]:
    body = msgspec.json.encode({"errors": [{"code": code, "message": message, "deprecated": False}]})
    answer = refusal(Response(422, {}, body), rest_names(names or UpdateThreadInput))  # type: ignore[arg-type]
    assert answer is not None
    assert answer.outcome is Outcome.NOT_APPLIED
    return [list(error.field) for error in answer.errors]


@pytest.mark.parametrize(
    ("code", "message", "field"),
    [
        ("validation_failed", "Expected `int`, got `str` - at `$.status`", ["status"]),
        ("validation_failed", "tag_codes has an unknown tag", ["tagCodes"]),
        ("validation_failed", "The value of 'comment' is too long.", ["comment"]),
        ("customer_ids", "No such customer.", ["customerIds"]),
        ("invalid.status", "Not a status.", ["status"]),
        ("validation_failed", "Expected `int` - at `$.reminder.delay`", ["reminder"]),
        ("validation_failed", "The status is wrong, and so is the comment.", []),
        ("validation_failed", "tag_codes and customer_ids exclude each other", []),
        ("validation_failed", "`password` is unknown", []),
        ("validation_failed", None, []),
        ("validation_failed", 7, []),
    ],
)
def test_the_only_field_that_an_error_names_is_its_path(code: str, message: object, field: list[str]) -> None:
    assert fields_of(code, message) == [field]


def test_an_ordinary_word_is_no_field() -> None:
    """The fields ``to``, ``from`` and ``read`` are words of every text."""
    assert fields_of("failed", "We failed to read the message from you.", CreateMessageInput) == [[]]
    assert fields_of("failed", "Not a contact: `to`.", CreateMessageInput) == [["to"]]
    assert fields_of("failed", "`reply_to_ext_msg_id` is unknown.", CreateMessageInput) == [
        ["replyToExternalMessageId"]
    ]


def test_every_field_of_an_input_has_its_rest_name() -> None:
    assert rest_names(UpdateThreadInput) == {
        "id": "id",
        "comment": "comment",
        "customer_external_ids": "customerExternalIds",
        "customer_ids": "customerIds",
        "reminder": "reminder",
        "status": "status",
        "tag_codes": "tagCodes",
    }
    assert rest_names(CreateMessageInput)["from"] == "from"


def test_an_error_in_two_forms_is_one_user_error() -> None:
    both = [{"code": "OLD", "deprecated": True}, {"code": "new"}, {"code": "new"}, {"code": "other"}]
    answer = refusal(Response(400, {}, msgspec.json.encode({"errors": both})), {})
    assert answer is not None
    assert [error.code for error in answer.errors] == ["new", "other"]
