"""The clients and tools that the tests run: with which version, what each needs, and the test that shows it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TESTS = Path(__file__).parents[1]

PYPI: Mapping[str, str] = {"httpx": "0.28.1", "gql": "4.4.0", "ariadne-codegen": "0.19.0"}
"""The packages of Python that the tests install, each in an environment of its own."""

NEWEST_NODE = "node@26.10.0"
"""The newest Node.js, as a package of npm. Its 200 MB are no dependency: the one test that needs it installs it."""


class Verdict(StrEnum):
    """What came of a tool."""

    WORKS = "works"
    """As it is."""
    NEEDS = "needs"
    """A setting, which the tests have."""
    DOES_NOT = "does not"
    """A part of it cannot be used."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One row. ``package`` is a name in the lock file of the npm project, or in `PYPI`."""

    package: str
    verdict: Verdict
    note: str
    test: str
    """Its file below ``tests``, and its function."""
    project: str = "clients"

    @property
    def version(self) -> str:
        """The version that is installed; raise KeyError if there is none."""
        if self.project == "python":
            return PYPI[self.package]
        return str(_locked(self.project)[f"node_modules/{self.package}"]["version"])


def _locked(project: str) -> dict[str, dict[str, object]]:
    packages: dict[str, dict[str, object]] = json.loads((TESTS / project / "package-lock.json").read_text())["packages"]
    return packages


_CLIENT = "clients/test_clients.py::test_a_client_gets_a_nested_query_with_variables"
_TYPED = "clients/test_typed_clients.py::"
_SUBSCRIBES = "clients/test_subscriptions.py::test_a_client_shows_the_current_state_and_then_the_change"
_COMPOSES = "federation/test_composition.py::test_it_composes_with_another_subgraph_without_errors_or_hints"
_ROUTED = (
    "federation/test_router.py::test_a_thread_of_the_gateway_has_what_the_second_subgraph_knows_of_it_and_its_customers"
)
_SCALARS = "A type for each scalar."

TOOLS = (
    Tool(
        "@apollo/client",
        Verdict.NEEDS,
        "`relayStylePagination()`, to join pages of messages.",
        "clients/test_clients.py::test_apollos_relay_style_pagination_joins_the_pages",
    ),
    Tool(
        "apollo-upload-client",
        Verdict.NEEDS,
        "The header `apollo-require-preflight`.",
        "clients/test_client_uploads.py::test_clients_upload_files",
    ),
    Tool("@urql/core", Verdict.WORKS, "Also `@defer`, `@stream`, subscriptions and uploads.", _CLIENT),
    Tool(
        "@urql/exchange-graphcache",
        Verdict.NEEDS,
        "`fieldId` in place of `id`, and `keys` for types without an `id`.",
        "clients/test_caches.py::test_each_customer_has_its_own_value_beside_field_id",
    ),
    Tool(
        "relay-runtime",
        Verdict.NEEDS,
        "`getDataID` with the type, and `fieldId` in place of `id`.",
        "clients/test_relay.py::test_each_customer_has_its_own_value_beside_field_id",
    ),
    Tool(
        "relay-compiler",
        Verdict.DOES_NOT,
        "`@refetchable` on `Thread`, because there is no `Node`; on `Query` it works.",
        "clients/test_relay.py::test_relays_compiler_refuses_a_refetchable_fragment_on_a_thread",
    ),
    Tool("graphql-request", Verdict.WORKS, "Uploads with a middleware of its users.", _CLIENT),
    Tool(
        "@tanstack/query-core",
        Verdict.WORKS,
        "With any client that returns a promise.",
        f"{_TYPED}test_tanstack_query_caches_pages_and_fails",
    ),
    Tool("gql.tada", Verdict.NEEDS, _SCALARS, f"{_TYPED}test_gql_tada_types_a_query_by_its_text"),
    Tool(
        "@graphql-codegen/cli",
        Verdict.NEEDS,
        f"{_SCALARS} Tried on the installed Node.js and on {NEWEST_NODE.replace('@', ' ')}.",
        "clients/test_schema_readers.py::test_codegen_generates_the_same_types_from_a_running_gateway",
    ),
    Tool(
        "graphql",
        Verdict.WORKS,
        "`buildSchema` reads the exports strictly.",
        "clients/test_schema_readers.py::test_graphql_js_reads_the_schema_strictly",
    ),
    Tool(
        "@graphql-eslint/eslint-plugin",
        Verdict.DOES_NOT,
        "The rules for schemas [below](#which-lint-rules-does-the-schema-not-follow).",
        "clients/test_schema_readers.py::test_the_schema_follows_all_other_rules_of_graphql_eslint",
    ),
    Tool(
        "graphql-schema-linter",
        Verdict.DOES_NOT,
        "The rules for an alphabetical order. It follows all others, with `gochat-gateway schema --client`.",
        "clients/test_schema_readers.py::test_graphql_schema_linter_reads_the_schema_strictly_and_reports_only_its_order",
    ),
    Tool("graphql-ws", Verdict.WORKS, "It connects and subscribes again by itself.", _SUBSCRIBES),
    Tool("graphql-sse", Verdict.WORKS, "In distinct connections mode.", _SUBSCRIBES),
    Tool(
        "graphql-http",
        Verdict.WORKS,
        "Its audit of GraphQL over HTTP passes.",
        "audit/test_audit.py::test_every_check_of_the_graphql_over_http_audit_is_ok",
        "audit",
    ),
    Tool("httpx", Verdict.WORKS, "", "clients/test_python.py::test_a_program_gets_a_thread", "python"),
    Tool(
        "gql",
        Verdict.NEEDS,
        "`GATEWAY_MAX_BATCH` above 1 for its batches.",
        "clients/test_python.py::test_a_program_gets_a_thread",
        "python",
    ),
    Tool(
        "ariadne-codegen",
        Verdict.NEEDS,
        f"{_SCALARS} An environment of its own.",
        "clients/test_python.py::test_a_program_gets_a_thread",
        "python",
    ),
    Tool("@apollo/composition", Verdict.WORKS, "Also with scopes.", _COMPOSES, "federation"),
    Tool("@theguild/federation-composition", Verdict.WORKS, "Also with scopes.", _COMPOSES, "federation"),
    Tool("@wundergraph/composition", Verdict.WORKS, "Cosmo's. Also with scopes.", _COMPOSES, "federation"),
    Tool(
        "@graphql-hive/gateway",
        Verdict.WORKS,
        "Also mutations, uploads and subscriptions. It leaves the index out of the path of an entity's error.",
        _ROUTED,
        "federation",
    ),
    Tool("@apollo/gateway", Verdict.WORKS, "Queries and their errors.", _ROUTED, "federation"),
)

LINT: Mapping[str, str] = {
    "alphabetize": "Fields are in the order of the REST API's reference.",
    "no-root-type": "It forbids mutations and subscriptions altogether.",
    "no-typename-prefix": "Names are the REST API's.",
    "require-deprecation-date": "The vendor names no date.",
    "require-field-of-type-query-in-mutation-result": "A payload has the thread or the message that was written.",
    "strict-id-in-types": "Objects without an `id` of their own in the REST API have none.",
}
"""The rules of graphql-eslint for schemas that the schema does not follow, each with the reason."""


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Return the table's rows: the tool, its version, the verdict, and what it needs or what does not work."""
    for each in TOOLS:
        yield f"`{each.package}`", each.version, each.verdict.value, each.note
