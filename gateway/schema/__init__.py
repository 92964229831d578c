"""The GraphQL side: types, entry points and dataloaders. ``build_schema()`` is what ``schema.graphql`` exports."""

from collections.abc import Iterable

from gateway.schema.federation import FederatedSchema, SchemaOptions
from gateway.schema.mutations import Mutation
from gateway.schema.queries import Query
from gateway.schema.resolvers.context import GatewayInfo
from gateway.schema.resolvers.enumerations import NO_NAMES, Enumerations
from gateway.schema.subscriptions import Subscription

__all__ = ["Enumerations", "FederatedSchema", "GatewayInfo", "Query", "SchemaOptions", "build_schema"]


def build_schema(
    *,
    query: type = Query,
    types: Iterable[type] = (),
    incremental: bool = False,
    field_scopes: bool = False,
    enumerations: Enumerations = NO_NAMES,
) -> FederatedSchema:
    """Return the schema, ready to execute against records of the REST API.

    ``query`` is a Strawberry type with further fields: a subclass of `Query`, named ``Query``. ``types`` are Strawberry
    types that no field returns. ``incremental`` adds @defer and @stream. With ``field_scopes``, fields that need a
    scope declare it, and it is enforced. ``enumerations`` name values of the REST API.

    `create_app` sets the last three by its settings, whatever they are here.
    """
    options = SchemaOptions(incremental, field_scopes, enumerations)
    return FederatedSchema(options, query=query, mutation=Mutation, subscription=Subscription, types=tuple(types))
