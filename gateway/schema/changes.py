"""Finds breaking changes of the schema: for clients, and for the other subgraphs of a federated graph."""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    ObjectTypeDefinitionNode,
    StringValueNode,
    build_ast_schema,
    parse,
)
from graphql.utilities import find_breaking_changes, find_dangerous_changes

from gateway.errors import BadUserInput


@dataclass(frozen=True, slots=True)
class Changes:
    """One line for each change. A dangerous one breaks only clients that are not prepared for it."""

    breaking: list[str]
    dangerous: list[str]


def schema_changes(old: str, new: str) -> Changes:
    """Return what changed from the SDL ``old`` to ``new``; raise BadUserInput if one of them is invalid."""
    before, after = _parsed(old), _parsed(new)
    schemas = _built(before), _built(after)
    breaking = [each.description for each in find_breaking_changes(*schemas)]
    lost = [f"{promise} was removed: other subgraphs rely on it." for promise in _lost(before, after)]
    return Changes(breaking + lost, [each.description for each in find_dangerous_changes(*schemas)])


def _parsed(sdl: str) -> DocumentNode:
    try:
        return parse(sdl)
    except GraphQLError as exc:
        raise BadUserInput(f"This is no GraphQL schema: {exc.message}") from exc


def _built(document: DocumentNode) -> GraphQLSchema:
    try:
        # Federation's directives are defined by its specification, not in the SDL.
        schema = build_ast_schema(document, assume_valid_sdl=True)
    except (GraphQLError, TypeError) as exc:
        raise BadUserInput(f"This is no GraphQL schema: {exc}") from exc
    if schema.query_type is None:
        raise BadUserInput("This is no GraphQL schema: it has no type Query.")
    return schema


def _lost(before: DocumentNode, after: DocumentNode) -> list[str]:
    kept = set(_promises(after))
    return [promise for promise in _promises(before) if promise not in kept]


def _promises(document: DocumentNode) -> Iterator[str]:
    """Yield what each type promises other subgraphs, which graphql-core does not compare."""
    for definition in document.definitions:
        if isinstance(definition, ObjectTypeDefinitionNode):
            for directive in definition.directives or ():
                yield from (f"{promise} of {definition.name.value}" for promise in _promises_of(directive))


def _promises_of(directive: DirectiveNode) -> Iterator[str]:
    arguments = {each.name.value: each.value for each in directive.arguments or ()}
    fields, resolvable = arguments.get("fields"), arguments.get("resolvable")
    if directive.name.value == "shareable":
        yield "@shareable"
    elif directive.name.value == "key" and isinstance(fields, StringValueNode):
        yield f'@key(fields: "{fields.value}")'
        if not (isinstance(resolvable, BooleanValueNode) and not resolvable.value):
            yield f'Resolving by @key(fields: "{fields.value}")'
