"""The schema composes with other subgraphs, by the composers that routers' users use."""

import pytest

from gateway.schema import build_schema
from tests.federation.composition import SCHEMA, SECOND, Composition, compose
from tests.harness import Gateway
from tests.javascript import project

pytestmark = pytest.mark.slow

LINK = """extend schema
  @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@external", "@shareable"])
"""
COMPOSE = {
    "the one that runs behind the router": SECOND.read_text(encoding="utf-8"),
    "customers by external id": """
        type Query { version: String }
        type Customer @key(fields: "externalId") { externalId: String score: Int }
    """,
    "customers by id": """
        type Query { version: String }
        type Customer @key(fields: "id") { id: ID! score: Int }
    """,
    "threads by id": """
        type Query { late: [Thread!]! }
        type Thread @key(fields: "id") { id: ID! risk: Int }
    """,
    "references to threads and customers, with nothing added": """
        type Query { late: [Thread] suspect: Customer }
        type Thread @key(fields: "id", resolvable: false) { id: ID! }
        type Customer @key(fields: "externalId", resolvable: false) { externalId: String }
    """,
    "messages and attachments by id": """
        type Query { version: String }
        type Message @key(fields: "id") { id: ID! spam: Boolean }
        type Attachment @key(fields: "id") { id: ID! virus: Boolean }
    """,
    "a connection of its own": """
        type Query { cases(after: String): CaseConnection! }
        type CaseConnection { pageInfo: PageInfo! }
        type PageInfo @shareable {
          hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String
        }
    """,
}
BY_ID_ALONE = """
    type Query {{ flagged: {entity} }}
    type {entity} @key(fields: "id") {{ id: ID! flag: String }}
"""
REFUSED = {entity: BY_ID_ALONE.format(entity=entity) for entity in ("Message", "Attachment", "Customer")}

Outcomes = dict[str, dict[str, Composition]]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """What the composers make of each: in one program, because loading them takes longer than composing."""
    seconds = {name: sdl if "@link" in sdl else LINK + sdl for name, sdl in (COMPOSE | REFUSED).items()}
    return dict(zip(seconds, compose(project("federation"), *seconds.values()), strict=True))


@pytest.mark.parametrize("composer", ["apollo", "guild"])
@pytest.mark.parametrize("second", COMPOSE)
def test_it_composes_with_another_subgraph_without_errors_or_hints(
    outcomes: Outcomes, composer: str, second: str
) -> None:
    outcome = outcomes[second][composer]
    assert (outcome.errors, outcome.hints) == ([], [])
    assert outcome.supergraph is not None


@pytest.fixture(scope="module")
def guarded() -> Outcomes:
    """What the composers make of the schema that tells which scopes its fields need."""
    seconds = {name: sdl if "@link" in sdl else LINK + sdl for name, sdl in COMPOSE.items()}
    sdl = build_schema(field_scopes=True).as_str()
    return dict(zip(seconds, compose(project("federation"), *seconds.values(), sdl=sdl), strict=True))


@pytest.mark.parametrize("composer", ["apollo", "guild"])
@pytest.mark.parametrize("second", COMPOSE)
def test_it_composes_with_scopes_as_well_and_the_router_is_told_of_them(
    guarded: Outcomes, composer: str, second: str
) -> None:
    outcome = guarded[second][composer]
    assert (outcome.errors, outcome.hints) == ([], [])
    assert outcome.supergraph is not None
    assert '@requiresScopes(scopes: [["customer:personal"]])' in outcome.supergraph
    assert '@requiresScopes(scopes: [["message:content"]])' in outcome.supergraph


@pytest.mark.parametrize("composer", ["apollo", "guild"])
@pytest.mark.parametrize("entity", REFUSED)
def test_a_subgraph_that_returns_by_id_what_no_rest_call_finds_is_refused(
    outcomes: Outcomes, composer: str, entity: str
) -> None:
    outcome = outcomes[entity][composer]
    assert outcome.supergraph is None
    assert all(error.startswith("SATISFIABILITY_ERROR: ") for error in outcome.errors)
    assert f'- from subgraph "risk":\n  - cannot find field "{entity}.' in outcome.errors[0]
    assert '- cannot move to subgraph "gochat"' in outcome.errors[0]


def test_the_router_is_told_the_schema_that_is_committed(gateway: Gateway) -> None:
    sdl = gateway.data("{ _service { sdl } }")["_service"]["sdl"]
    assert sdl + "\n" == SCHEMA.read_text(encoding="utf-8"), "a file ends with a line break"
