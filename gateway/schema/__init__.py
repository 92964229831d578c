"""The GraphQL side: types, entry points and dataloaders. ``build_schema()`` is what ``schema.graphql`` exports."""

from strawberry.schema.config import StrawberryConfig

from gateway.schema.federation import FederatedSchema
from gateway.schema.queries import Query
from gateway.schema.records import attach_readers
from gateway.schema.scalars import SCALARS

__all__ = ["FederatedSchema", "build_schema"]


def build_schema(*, incremental: bool = False) -> FederatedSchema:
    """Return the schema, ready to execute against records of the REST API; ``incremental`` adds @defer and @stream."""
    config = StrawberryConfig(scalar_map=SCALARS, enable_experimental_incremental_execution=incremental)
    schema = FederatedSchema(query=Query, federation_version="2.5", config=config)
    schema.complete()
    attach_readers(schema._schema)  # noqa: SLF001 - Strawberry's only name for the graphql-core schema
    return schema
