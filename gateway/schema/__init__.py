"""The GraphQL side: types, entry points and dataloaders. ``build_schema()`` is what ``schema.graphql`` exports."""

from strawberry.schema.config import StrawberryConfig

from gateway.schema.federation import FederatedSchema
from gateway.schema.mutations import Mutation
from gateway.schema.queries import Query
from gateway.schema.scalars import SCALARS
from gateway.schema.subscriptions import Subscription

__all__ = ["FederatedSchema", "build_schema"]


def build_schema(*, incremental: bool = False, field_scopes: bool = False) -> FederatedSchema:
    """Return the schema, ready to execute against records of the REST API.

    ``incremental`` adds @defer and @stream. With ``field_scopes``, fields that need a scope declare it, and it is
    enforced.
    """
    config = StrawberryConfig(scalar_map=SCALARS, enable_experimental_incremental_execution=incremental)
    return FederatedSchema(
        field_scopes=field_scopes,
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        federation_version="2.5",
        config=config,
    )
