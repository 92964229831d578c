"""How a federation router asks for entities (Apollo Federation subgraph specification, ``_entities``)."""

import asyncio
from typing import Any

from graphql import GraphQLUnionType
from strawberry.federation.schema import FederationAny, Schema
from strawberry.types import Info

from gateway.errors import BadUserInput
from gateway.schema.context import OperationContext
from gateway.schema.queries import load_customer, load_record
from gateway.schema.records import Record

Representation = dict[str, Any]


class FederatedSchema(Schema):
    """A subgraph whose entities are loaded together; one that fails is null with its error, and the rest stand."""

    async def entities_resolver(  # type: ignore[override]  # Strawberry's is not async, but takes either
        self, info: Info[OperationContext, None], representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Return the entity of each representation, in their order."""
        results: list[Any] = await asyncio.gather(
            *(_resolve(info.context, each) for each in representations), return_exceptions=True
        )
        return results

    def read_typenames(self) -> None:
        """Let graphql-core read an entity's type from its ``__typename``: the records are plain dicts."""
        entity = self._schema.type_map.get("_Entity")
        if isinstance(entity, GraphQLUnionType):
            entity.resolve_type = None


async def _resolve(context: OperationContext, representation: Any) -> Record | None:
    if not isinstance(representation, dict):
        raise BadUserInput("A representation must be an object with `__typename` and the key's fields.")
    typename = representation.get("__typename")
    record: Record | None
    if typename == "Thread":
        record = await load_record(context.loaders.threads, _key(representation, "id"))
    elif typename == "Customer":
        record = await load_customer(context.loaders.customers, _key(representation, "externalId"))
    else:
        raise BadUserInput("Only Thread, by `id`, and Customer, by `externalId`, can be resolved as entities.")
    return None if record is None else {**record, "__typename": typename}


def _key(representation: Representation, name: str) -> str:
    value = representation.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadUserInput(f"A representation of {representation['__typename']} must have its key `{name}`.")
    return str(value)
