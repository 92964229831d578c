"""What execution uses of graphql-core's undocumented behaviour. Apart, so that an upgrade is checked in one place.

Plans and costs have to read an operation exactly as the reference executor does. So they use the executor's own
functions, although graphql-core calls them internal.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLLeafType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    Node,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    Token,
    TokenKind,
    ValidationContext,
    execute,
    experimental_execute_incrementally,
    located_error,
)
from graphql.execution import ExperimentalIncrementalExecutionResults, PendingResult, VariableValues
from graphql.execution.collect_fields import (
    DeferUsage,
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.incremental import IncrementalExecutor
from graphql.execution.values import VariableValueSource
from graphql.language.print_string import print_string
from graphql.pyutils import AwaitableOrValue, Path

__all__ = [
    "FieldDetailsList",
    "FragmentDetails",
    "GraphQLVariableSignature",
    "GroupedFieldSet",
    "PendingResult",
]

Fragments: TypeAlias = dict[str, FragmentDetails]

_NO_TOKEN = Token(TokenKind.SOF, 0, 0, 0, 0)
_untrack = ctypes.pythonapi.PyObject_GC_UnTrack
_untrack.argtypes, _untrack.restype = [ctypes.py_object], None


def make_compact(document: DocumentNode) -> None:
    """Prepare a syntax tree to be kept: it takes less memory, and no garbage collection passes over it.

    Its locations keep ``start``, ``end`` and ``source``, and lose their tokens. The tokens refer to each other in both
    directions; without them nothing in a tree refers back. So it is freed without the collector, which need not know it
    (C API, PyObject_GC_UnTrack): a thousand trees made a full collection several times as long as others may wait.
    """
    below: list[Node] = [document]
    while below:
        node = below.pop()
        _untrack(node)
        if node.loc is not None:
            node.loc.start_token = node.loc.end_token = _NO_TOKEN
            _untrack(node.loc)
        for key in node.keys:
            value = getattr(node, key)
            if isinstance(value, Node):
                below.append(value)
            elif isinstance(value, tuple):
                _untrack(value)
                below += [each for each in value if isinstance(each, Node)]


def fragments_of(document: DocumentNode) -> Fragments:
    """Return the fragments of a document, in the form that `collected_fields` takes."""
    fragments = (each for each in document.definitions if isinstance(each, FragmentDefinitionNode))
    return {each.name.value: FragmentDetails(each) for each in fragments}


def collected_fields(
    schema: GraphQLSchema,
    fragments: Fragments,
    variables: VariableValues,
    operation: OperationDefinitionNode,
    root: GraphQLObjectType,
) -> GroupedFieldSet:
    """Return what an operation selects of the root, merged, by response key.

    ``collect_fields`` is internal. It decides what fragments, merged fields, ``@skip`` and ``@include`` mean to the
    reference executor, so that they mean the same to a plan.
    """
    return collect_fields(schema, fragments, variables, root, operation).grouped_field_set


def collected_subfields(
    schema: GraphQLSchema,
    fragments: Fragments,
    variables: VariableValues,
    operation: OperationDefinitionNode,
    of: GraphQLObjectType,
    selected: FieldDetailsList,
) -> GroupedFieldSet:
    """Return what a field selects of its value, an object of the type ``of``: see `collected_fields`."""
    return collect_subfields(schema, fragments, variables, operation, of, selected).grouped_field_set


def variable_signatures(schema: GraphQLSchema, operation: OperationDefinitionNode) -> list[GraphQLVariableSignature]:
    """Return the name and the type of each variable that an operation declares.

    ``get_variable_signature`` is internal. graphql-core calls it at each request; here it is called once for an
    operation, which saves a third of a small plan's time.
    """
    found = [get_variable_signature(schema, each) for each in operation.variable_definitions or ()]
    return [each for each in found if isinstance(each, GraphQLVariableSignature)]


def variable_values(signatures: Iterable[GraphQLVariableSignature], values: dict[str, Any]) -> VariableValues:
    """Return variables whose values need no coercion.

    graphql-core builds these tuples only while it coerces, and says nothing of their fields.
    """
    return VariableValues({each.name: VariableValueSource(each, values[each.name]) for each in signatures}, values)


def variables_of_conditions(values: Mapping[str, bool]) -> VariableValues:
    """Return the values of the variables in ``@skip`` and ``@include``, for `collected_fields`; see `variable_values`.

    The sources of the values are left out: only arguments of list and input types need them.
    """
    return VariableValues({}, dict(values))


def bounded_merge_rule(max_comparisons: int) -> type[OverlappingFieldsCanBeMergedRule]:
    """Return the rule that compares overlapping fields, with a limit of ``max_comparisons``.

    The number of comparisons grows with the square of a document's size. graphql-core has a limit of its own, and no
    public name for it.
    """

    class BoundedMergeRule(OverlappingFieldsCanBeMergedRule):
        """Aborts the validation at the limit."""

        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = max_comparisons

    return BoundedMergeRule


def is_validation_aborted(errors: list[GraphQLError]) -> bool:
    """Return whether validation ended at the limit of `bounded_merge_rule`: only the text of the last error says so."""
    return bool(errors) and errors[-1].message == "Validation aborted."


def exceeds_token_limit(error: GraphQLError, max_tokens: int) -> bool:
    """Return whether the parser stopped at ``max_tokens``: only the text of its syntax error says so."""
    return f"more than {max_tokens} tokens" in error.message


def canonical_string(value: str) -> str:
    """Return ``value`` as a quoted GraphQL string, so that block strings and escapes compare equal.

    ``print_string`` is not exported.
    """
    return print_string(value)


def execute_counted(schema: GraphQLSchema, document: DocumentNode, **options: Any) -> AwaitableOrValue[ExecutionResult]:
    """Execute an operation, and count its response: see `CountingExecutor`."""
    return execute(schema, document, executor_class=CountingExecutor, **options)


def execute_incrementally(
    schema: GraphQLSchema, document: DocumentNode, **options: Any
) -> AwaitableOrValue[ExecutionResult | ExperimentalIncrementalExecutionResults]:
    """Execute an operation that may use ``@defer`` and ``@stream``, which graphql-core calls experimental.

    ``execute`` refuses a schema that has these directives. For an operation without them the result is the same.
    """
    return experimental_execute_incrementally(schema, document, executor_class=CountingExecutor, **options)


class CountingExecutor(IncrementalExecutor):
    """Counts the response while it is built, in the ``budget`` of the operation's context.

    A response that becomes too large ends the operation: the error passes the fields above, nullable or not. That one
    method executes the fields of every object, another those that an object defers, a third completes every leaf, and a
    fourth gets the error of every field is not documented.
    """

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: GroupedFieldSet,
        position_context: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """Count the fields of an object, and their keys with the characters around them."""
        fields = len(grouped_field_set)
        exceeded = self.context_value.budget.add(fields, sum(map(len, grouped_field_set)) + 4 * fields)
        if exceeded is not None and path is not None:
            raise exceeded
        return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)

    def execute_collected_subfields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path,
        grouped_field_set: GroupedFieldSet,
        new_defer_usages: Sequence[DeferUsage],
        position_context: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """Count what an object defers."""
        if new_defer_usages:
            exceeded = self.context_value.budget.add_parts(len(new_defer_usages))
            if exceeded is not None:
                raise exceeded
        return super().execute_collected_subfields(
            parent_type, source_value, path, grouped_field_set, new_defer_usages, position_context
        )

    def complete_leaf_value(self, return_type: GraphQLLeafType, result: Any) -> Any:  # type: ignore[override]
        """Count the bytes of a leaf: a text has at least as many as it has characters."""
        completed = super().complete_leaf_value(return_type, result)
        size = 0
        if isinstance(completed, str):
            size = len(completed)
        elif isinstance(completed, (dict, list)):
            size = len(msgspec.json.encode(completed))
        exceeded = self.context_value.budget.add(0, size)
        if exceeded is not None:
            raise exceeded
        return completed

    def handle_field_error(
        self,
        raw_error: Exception,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        path: Path,
    ) -> None:
        """Count an error, and end the operation if the response is too large."""
        exceeded = self.context_value.budget.add_error()
        if exceeded is not None:
            raise located_error(exceeded, [each.node for each in field_details_list], path.as_list())
        super().handle_field_error(raw_error, return_type, field_details_list, path)


def leaf_coercion(leaf: GraphQLLeafType) -> Callable[[Any], Any]:
    """Return the function that checks a value of a scalar or an enum: its name changed in graphql-core 3.3."""
    return leaf.coerce_output_value


def replace_resolver(field: GraphQLField, resolve: Callable[..., Any]) -> None:
    """Replace the resolver of a field in a built schema: graphql-core documents its types as complete once built."""
    field.resolve = resolve


def make_nullable(field: GraphQLField) -> None:
    """Make the type of a field nullable in a built schema: see `replace_resolver`."""
    if isinstance(field.type, GraphQLNonNull):
        field.type = field.type.of_type


def resolve_by_typename(union: GraphQLUnionType) -> None:
    """Let the members of a union be told apart by the ``__typename`` of dicts, as graphql-core does by default."""
    union.resolve_type = None
