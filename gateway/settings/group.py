"""The base of every group of settings: what all groups have in common."""

import re

from pydantic import BaseModel, ConfigDict

PREFIX = "GATEWAY_"
"""What the name of every environment variable of the gateway begins with."""


class Group(BaseModel):
    """Settings that one part of the gateway needs. The alias of a field is its environment variable."""

    model_config = ConfigDict(
        validate_default=True,
        allow_inf_nan=False,
        frozen=True,
        hide_input_in_errors=True,
    )


def words(text: str | None) -> list[str]:
    """Return the members of a setting that is a list: separated by spaces, or by commas."""
    return [each for each in re.split(r"[\s,]+", text or "") if each]
