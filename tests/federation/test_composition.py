"""The schema composes with other subgraphs, by the composers that routers' users use."""

from pathlib import Path

import pytest

from gateway.schema import build_schema
from tests.federation.composition import SCHEMA, SECOND, Composition, compose
from tests.harness import Gateway
from tests.javascript import project

pytestmark = pytest.mark.slow

LINK = """extend schema
  @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@external", "@shareable"])
"""
COMPOSERS = ["apollo", "guild", "cosmo"]
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


@pytest.mark.parametrize("composer", COMPOSERS)
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


@pytest.mark.parametrize("composer", COMPOSERS)
@pytest.mark.parametrize("second", COMPOSE)
def test_it_composes_with_scopes_as_well_and_the_router_is_told_of_them(
    guarded: Outcomes, composer: str, second: str
) -> None:
    outcome = guarded[second][composer]
    assert (outcome.errors, outcome.hints) == ([], [])
    assert outcome.supergraph is not None
    assert '@requiresScopes(scopes: [["customer:personal"]])' in outcome.supergraph
    assert '@requiresScopes(scopes: [["message:content"]])' in outcome.supergraph


USES = """extend schema
  @link(
    url: "https://specs.apollo.dev/federation/v2.5"
    import: ["@key", "@external", "@shareable", "@requires", "@provides", "@requiresScopes"]
  )
"""
REQUIRES = Path(__file__).with_name("requires.graphql").read_text(encoding="utf-8")
SCOPE = ' @requiresScopes(scopes: [["customer:personal"]])'
DEMANDS = {
    "requires, without the scope": REQUIRES.replace(SCOPE, ""),
    "requires, with the scope": REQUIRES,
    "requires, with a list that is never null": REQUIRES.replace("[String!]", "[String!]!"),
    "provides": """
      type Query { urgent: [Thread!]! @provides(fields: "status") }
      type Thread @key(fields: "id") { id: ID! status: ThreadStatus @external }
      scalar ThreadStatus
    """,
    "a copy": 'type Thread @key(fields: "id") { id: ID! tags: [String!]! @shareable }',
}
SAYS: dict[tuple[str, str], dict[str, str]] = {
    ("scopes", "requires, without the scope"): dict.fromkeys(
        ["apollo", "guild"], "MISSING_TRANSITIVE_AUTH_REQUIREMENTS"
    ),
    ("scopes", "requires, with a list that is never null"): dict.fromkeys(
        ["apollo", "guild"], "EXTERNAL_TYPE_MISMATCH"
    ),
    ("no scopes", "requires, without the scope"): dict.fromkeys(["apollo", "guild"], "EXTERNAL_TYPE_MISMATCH"),
    ("no scopes", "requires, with the scope"): dict.fromkeys(["apollo", "guild"], "EXTERNAL_TYPE_MISMATCH"),
    **{
        (scopes, second): errors
        for scopes in ("scopes", "no scopes")
        for second, errors in {
            "provides": {"apollo": "INVALID_FIELD_SHARING"},
            "a copy": {
                **dict.fromkeys(["apollo", "guild"], "INVALID_FIELD_SHARING"),
                "cosmo": 'without the "@shareable" directive',
            },
        }.items()
    },
}
"""What the composers that refuse a subgraph say of it; docs/federation.md says what to do instead."""


@pytest.fixture(scope="module")
def demands() -> dict[str, Outcomes]:
    """What the composers make of subgraphs that use fields of the gateway, with its scopes and without."""
    query = "type Query { late: [Thread!]! }"
    seconds = {name: USES + sdl + ("" if "type Query" in sdl else query) for name, sdl in DEMANDS.items()}
    return {
        scopes: dict(zip(seconds, compose(project("federation"), *seconds.values(), sdl=sdl), strict=True))
        for scopes, sdl in (("scopes", build_schema(field_scopes=True).as_str()), ("no scopes", None))
    }


@pytest.mark.parametrize("composer", COMPOSERS)
@pytest.mark.parametrize("second", DEMANDS)
@pytest.mark.parametrize("scopes", ["scopes", "no scopes"])
def test_what_a_composer_demands_of_a_subgraph_that_uses_the_gateways_fields(
    demands: dict[str, Outcomes], scopes: str, second: str, composer: str
) -> None:
    outcome = demands[scopes][second][composer]
    refusal = SAYS.get((scopes, second), {}).get(composer)
    assert (outcome.supergraph is None) is (refusal is not None), outcome.errors
    assert refusal is None or any(refusal in error for error in outcome.errors), outcome.errors


@pytest.mark.parametrize("entity", REFUSED)
def test_cosmos_composer_does_not_refuse_what_no_rest_call_finds(outcomes: Outcomes, entity: str) -> None:
    """The gateway then refuses each such entity."""
    assert outcomes[entity]["cosmo"].supergraph is not None


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
