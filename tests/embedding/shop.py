"""The gateway with a field of another source, a shop, beside those of the REST API."""

import strawberry

from gateway.app import create_app
from gateway.schema import Query, build_schema
from gateway.settings import load_settings

ORDERS = {"cu-1": [("A-17", "A kite"), ("A-18", "String")]}


@strawberry.type(description="An order in the shop.")
class Order:
    number: str = strawberry.field(description="The order's number.")
    article: str = strawberry.field(description="What was ordered.")


async def orders_of(external_id: strawberry.ID) -> list[Order]:
    return [Order(number=number, article=article) for number, article in ORDERS.get(external_id, [])]


@strawberry.type(name="Query", description="What can be read.")
class ShopQuery(Query):
    orders: list[Order] = strawberry.field(resolver=orders_of, description="What a customer ordered in the shop.")


gateway = create_app(load_settings(), schema=build_schema(query=ShopQuery))
