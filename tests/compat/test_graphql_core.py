"""Canaries of gateway/compat/graphql_core.py: after an upgrade, each names the borrowed behaviour that is gone."""

import gc
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLSchema,
    GraphQLString,
    GraphQLSyntaxError,
    GraphQLUnionType,
    Location,
    Node,
    OperationDefinitionNode,
    Token,
    build_schema,
    execute_sync,
    graphql_sync,
    parse,
    validate,
)
from graphql.execution import ExperimentalIncrementalExecutionResults, VariableValues, get_variable_values

from gateway.compat.graphql_core import (
    bounded_merge_rule,
    canonical_string,
    collected_fields,
    collected_subfields,
    exceeds_token_limit,
    execute_counted,
    execute_incrementally,
    fragments_of,
    is_validation_aborted,
    leaf_coercion,
    make_compact,
    make_nullable,
    replace_resolver,
    resolve_by_typename,
    variable_signatures,
    variable_values,
    variables_of_conditions,
)

SDL = """
type Query { thing(id: ID! = "1", tags: [String!]): Thing!, any: Any }
type Thing { id: ID!, name: String, below: Thing }
union Any = Thing
"""
DEFER = "directive @defer(if: Boolean! = true, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT"
DOCUMENT = """query ($yes: Boolean!, $no: Boolean!) {
  thing { id ...F name @skip(if: $yes) below { ... on Thing { id } } }
  left: thing @include(if: $no) { id }
}
fragment F on Thing { id below { name } }"""


@pytest.fixture
def schema() -> GraphQLSchema:
    return build_schema(SDL)


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    return operation


def test_fields_are_collected_as_the_executor_collects_them(schema: GraphQLSchema) -> None:
    document = parse(DOCUMENT)
    assert schema.query_type is not None
    variables = variables_of_conditions({"yes": True, "no": False})
    fields = collected_fields(schema, fragments_of(document), variables, operation_of(document), schema.query_type)
    assert list(fields) == ["thing"], "collect_fields does not apply @include any more"
    assert fields["thing"][0].node.name.value == "thing", "FieldDetails.node is not the node of the field any more"


def test_subfields_are_merged_as_the_executor_merges_them(schema: GraphQLSchema) -> None:
    document = parse(DOCUMENT)
    operation, fragments = operation_of(document), fragments_of(document)
    query, thing = schema.query_type, schema.type_map["Thing"]
    assert query is not None
    variables = variables_of_conditions({"yes": True, "no": False})
    roots = collected_fields(schema, fragments, variables, operation, query)
    below = collected_subfields(schema, fragments, variables, operation, thing, roots["thing"])  # type: ignore[arg-type]  # it is an object type
    merged = {key: len(selected) for key, selected in below.items()}
    assert merged == {"id": 2, "below": 2}, "collect_subfields does not merge fields and fragments any more"


def test_variables_have_a_signature(schema: GraphQLSchema) -> None:
    document = parse("query ($id: ID!, $tags: [String!]) { thing(id: $id, tags: $tags) { id } }")
    signatures = variable_signatures(schema, operation_of(document))
    found = {each.name: str(each.type) for each in signatures}
    assert found == {"id": "ID!", "tags": "[String!]"}, "get_variable_signature does not return name and type any more"


def test_values_of_variables_can_be_built_without_coercion(schema: GraphQLSchema) -> None:
    document = parse("query ($id: ID!, $tags: [String!]) { thing(id: $id, tags: $tags) { id } }")
    operation = operation_of(document)
    inputs = {"id": "7", "tags": ["a", "b"]}
    built = variable_values(variable_signatures(schema, operation), dict(inputs))
    coerced = get_variable_values(schema, operation.variable_definitions or (), inputs)
    assert isinstance(coerced, VariableValues)
    assert built.coerced == coerced.coerced, "VariableValues.coerced has other contents than `variable_values` builds"
    found = [[(each.signature.name, each.value) for each in values.sources.values()] for values in (built, coerced)]
    assert found[0] == found[1], "VariableValues.sources has other contents than `variable_values` builds"


def test_values_of_conditions_decide_what_is_skipped() -> None:
    values = variables_of_conditions({"yes": True})
    assert isinstance(values, VariableValues)
    assert (values.sources, values.coerced) == ({}, {"yes": True}), "VariableValues has no `sources` or `coerced`"


def test_comparisons_of_overlapping_fields_are_bounded(schema: GraphQLSchema) -> None:
    document = parse("{ thing { " + "id " * 20 + "} }")
    assert not validate(schema, document, [bounded_merge_rule(10_000)])
    errors = validate(schema, document, [bounded_merge_rule(5)])
    assert errors, "`rule_context.remaining_complexity_budget` does not bound the comparisons any more"


def test_an_aborted_validation_is_recognised(schema: GraphQLSchema) -> None:
    document = parse("{ thing { " + "id " * 20 + "} }")
    errors = validate(schema, document, [bounded_merge_rule(5)])
    assert is_validation_aborted(errors), f"an aborted validation reads otherwise: {errors}"
    assert not is_validation_aborted(validate(schema, parse("{ nothing }")))


def test_the_parser_says_that_a_document_has_too_many_tokens() -> None:
    with pytest.raises(GraphQLSyntaxError) as caught:
        parse("{ a b c }", max_tokens=3)
    assert exceeds_token_limit(caught.value, 3), f"the parser's error at `max_tokens` reads otherwise: {caught.value}"
    with pytest.raises(GraphQLSyntaxError) as caught:
        parse("{")
    assert not exceeds_token_limit(caught.value, 3)


def test_a_string_is_printed_in_its_one_canonical_form() -> None:
    assert canonical_string('a"\n\té') == r'"a\"\n\té"', "print_string does not print strings as before"


async def incrementally(document: str, root: Any, context: Any = None) -> Any:
    outcome = execute_incrementally(
        build_schema(SDL + DEFER), parse(document), root_value=root, context_value=context or WithBudget(100)
    )
    return await outcome if isawaitable(outcome) else outcome


def test_a_compact_tree_is_the_same_to_readers_and_unknown_to_the_garbage_collector() -> None:
    """A new kind of value below a node would be tracked, and a tree with references back would never be freed."""
    document, original = parse(DOCUMENT), parse(DOCUMENT)
    make_compact(document)
    assert document == original
    assert document.to_dict(locations=True) == original.to_dict(locations=True)
    gc.collect()
    seen: set[int] = set()
    reachable: list[Any] = [document]
    while reachable:
        each = reachable.pop()
        if id(each) not in seen and isinstance(each, (Node, Location, Token, tuple, list, dict)):
            seen.add(id(each))
            reachable += gc.get_referents(each)
            assert not gc.is_tracked(each) or isinstance(each, Token), each
            assert not isinstance(each, Token) or (each.prev, each.next) == (None, None)
    assert len(seen) > 50


async def test_an_operation_is_executed_incrementally() -> None:
    async def name(_info: object) -> str:
        return "n"

    root = {"thing": {"id": "1", "name": name}}
    context = WithBudget(100)
    outcome = await incrementally("{ thing { id ... @defer { name } } }", root, context)
    assert context.budget.parts == 1, "execute_collected_subfields does not get what an object defers any more"
    assert isinstance(outcome, ExperimentalIncrementalExecutionResults), "@defer does not lead to incremental results"
    assert outcome.initial_result.data == {"thing": {"id": "1"}}
    (pending,) = outcome.initial_result.pending
    assert (pending.path, pending.label) == (["thing"], None), "PendingResult has no `path` or `label` any more"
    rest = [each async for each in outcome.subsequent_results]
    assert [one.data for each in rest for one in each.incremental or ()] == [{"name": "n"}]  # type: ignore[union-attr]  # @defer has data


async def test_an_operation_without_defer_has_one_result() -> None:
    outcome = await incrementally("{ thing { id } }", {"thing": {"id": "1"}})
    assert outcome == ExecutionResult({"thing": {"id": "1"}}, None), (
        "experimental_execute_incrementally has no plain result for an operation without @defer any more"
    )


def test_a_leaf_checks_its_values() -> None:
    coerce = leaf_coercion(GraphQLString)
    assert coerce("text") == "text", "GraphQLScalarType.coerce_output_value does not return the value any more"
    with pytest.raises(Exception, match="String"):
        coerce({})


def test_a_resolver_can_be_replaced_in_a_built_schema(schema: GraphQLSchema) -> None:
    assert schema.query_type is not None
    replace_resolver(schema.query_type.fields["thing"], lambda *_, **__: {"id": "replaced"})
    result = graphql_sync(schema, "{ thing { id } }")
    assert result.data == {"thing": {"id": "replaced"}}, "a replaced GraphQLField.resolve is not called any more"


def test_a_field_can_be_made_nullable_in_a_built_schema(schema: GraphQLSchema) -> None:
    assert schema.query_type is not None
    make_nullable(schema.query_type.fields["thing"])
    result = graphql_sync(schema, "{ thing { id } }")
    assert (result.data, result.errors) == ({"thing": None}, None), "a replaced GraphQLField.type is not used any more"


def test_members_of_a_union_are_told_apart_by_their_typename(schema: GraphQLSchema) -> None:
    union = schema.type_map["Any"]
    assert isinstance(union, GraphQLUnionType)
    resolve_by_typename(union)
    result = graphql_sync(schema, "{ any { ... on Thing { id } } }", {"any": {"__typename": "Thing", "id": "1"}})
    assert result.data == {"any": {"id": "1"}}, "`__typename` of a dict does not decide its type any more"


def test_an_exception_in_a_list_is_the_error_of_its_item() -> None:
    """`Link.follow` and the readers of lists return exceptions, so that the other items of a list are kept."""
    schema = build_schema("type Query { items: [String] }")
    result = execute_sync(schema, parse("{ items }"), {"items": ["a", ValueError("broken")]})
    assert result.data == {"items": ["a", None]}, "an exception in a list is not an error of its item any more"
    assert [error.path for error in result.errors or ()] == [["items", 1]]


async def test_a_list_can_be_an_async_iterator() -> None:
    """A long list is given to the executor item by item, so that it yields to other operations."""

    async def items(_info: object) -> Any:
        for each in ("a", "b"):
            yield each

    schema = build_schema("type Query { items: [String] }")
    outcome = execute_incrementally(
        schema, parse("{ items }"), root_value={"items": items}, context_value=WithBudget(100)
    )
    assert isinstance(outcome, Awaitable)
    result = await outcome
    assert result == ExecutionResult({"items": ["a", "b"]}, None), "an async iterator is not taken as a list any more"


class Counted:
    """A budget that records what it is given."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.fields = self.bytes = self.errors = self.parts = 0

    def add(self, fields: int, size: int) -> Exception | None:
        self.fields += fields
        self.bytes += size
        return ValueError("too large") if self.fields > self.most else None

    def add_error(self) -> Exception | None:
        self.errors += 1
        return self.add(0, 0)

    def add_parts(self, count: int) -> Exception | None:
        self.parts += count
        return self.add(0, 0)


class WithBudget:
    """A context with a budget."""

    def __init__(self, most: int) -> None:
        self.budget = Counted(most)


@pytest.mark.parametrize("execute", [execute_counted, execute_incrementally])
def test_an_executor_counts_fields_texts_and_errors(schema: GraphQLSchema, execute: Any) -> None:
    context = WithBudget(100)
    document = parse("{ thing { id name } a: thing { below { id } } }")
    thing = {"id": "12345", "name": "abc", "below": {}}
    found = execute(schema, document, root_value={"thing": thing}, context_value=context)
    assert found.data == {"thing": {"id": "12345", "name": "abc"}, "a": {"below": None}}
    keys = sum(len(key) + 4 for key in ("thing", "a", "id", "name", "below", "id"))
    assert (context.budget.fields, context.budget.bytes) == (6, keys + len("12345") + len("abc"))
    assert context.budget.errors == 2, "of the id, and of the object that cannot be without it"


@pytest.mark.parametrize("execute", [execute_counted, execute_incrementally])
def test_an_executor_ends_an_operation_that_is_too_large(schema: GraphQLSchema, execute: Any) -> None:
    """The error passes nullable fields as well."""
    thing = {"id": "1", "below": {"id": "2", "below": {"id": "3"}}}
    document = parse("{ thing { below { below { id } } } }")
    found = execute(schema, document, root_value={"thing": thing}, context_value=WithBudget(3))
    assert found.data is None
    assert [error.path for error in found.errors] == [["thing"]]
