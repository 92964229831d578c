"""Decoders that accept exactly what the contract says: nearly every response is done with after one of them.

To compare a body object by object takes ten times as long, and is only needed where a decoder refuses the body.
"""

from typing import Annotated, Any, Literal

import msgspec

from gateway.upstream.contract import ENUMERATIONS, TYPES, Field, Route
from gateway.upstream.contract.model import Format, ObjectType
from gateway.upstream.drift.comparison import UNDECODABLE, Known, Sample, list_of, page_differences
from gateway.upstream.drift.shapes import shape_of

_INT32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_ID_FIELD: Any = ("id_", Annotated[str, msgspec.Meta(min_length=1)])
_SCALARS: dict[str, Any] = {"str": str, "int": _INT32, "bool": bool, "object": dict, "any": Any}


class StrictDecoders:
    """Says of a response whether anything in it differs from the contract."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._structs: dict[str, Any] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    def prepare(self, route: Route) -> None:
        """Make what the responses of a route need, which takes some milliseconds the first time."""
        shape_of("Errors")
        if route.response is not None:
            shape_of(route.response)
            self._decoder(route.response)

    def accept(self, sample: Sample) -> bool:
        """Return whether nothing differs. Whether a field is missing that may be missing is another question."""
        route = sample.route
        if sample.status != route.status:
            return False
        if route.response is None:
            return True
        try:
            document = self._decoder(route.response).decode(sample.body)
            if not sample.body.isascii():
                sample.body.decode()
        except UNDECODABLE:
            return False
        name = list_of(route)
        return name is None or _fits(sample, name, document)

    def _decoder(self, name: str) -> msgspec.json.Decoder[Any]:
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = msgspec.json.Decoder(self._struct(name))
        return decoder

    def _struct(self, name: str) -> Any:
        struct = self._structs.get(name)
        if struct is None:
            of = TYPES[name]
            fields = [_ID_FIELD] if of.identified else []
            fields += [(f"{each.name}_", self._type(each), None) for each in of.fields if not _is_id(of, each)]
            struct = self._structs[name] = msgspec.defstruct(
                name,
                fields,
                rename=lambda attribute: attribute[:-1],
                forbid_unknown_fields=not of.is_open,
                gc=False,
            )
        return struct

    def _type(self, field: Field) -> Any:
        one: Any = self._one(field)
        return (list[one] if field.is_list else one) | None

    def _one(self, field: Field) -> Any:
        kind = field.of
        if kind in TYPES:
            return self._struct(kind)
        if kind in ENUMERATIONS:
            known = self._known.get(kind)
            return Literal[*known] if known else str | int
        return int if field.format is Format.INT64 else _SCALARS[kind]


def _is_id(of: ObjectType, field: Field) -> bool:
    return of.identified and field.name == "id"


def _fits(sample: Sample, name: str, page: Any) -> bool:
    idents = [each.id_ for each in getattr(page, f"{name}_") or ()]
    return not any(page_differences(sample, name, idents, page.total_))
