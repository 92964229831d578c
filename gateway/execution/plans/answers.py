"""Answers that were built from cached REST responses: they are kept with them, and not built again.

A plan's answer is a function of the plan, the variables and the REST bodies, and of nothing else. So an operation whose
bodies all came from the response cache, in the memory of this process, leaves its encoded answer there: with the first
body that it loads, for as long as that is kept, within the bound of that memory. The next one with the same plan and
variables gets these bytes, without a loader and without a decoder.

Nothing is served that the cache would not serve. Each body is looked up again, as its call would look it up: with the
caller's own credentials, and only if it is fresh and was not purged. It must be the very entry that the answer was
built from. Entries are private to a credential, and so are the answers.
"""

import weakref
from typing import Any, NamedTuple

import msgspec
from graphql.execution import VariableValues

from gateway.execution.plans.plan import Plan
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.loaders import RestKey
from gateway.storage.memory import MemoryEntry
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.contract import Read
from gateway.upstream.transports.cache import FreshEntry

_Name = tuple[object, bytes, frozenset[str]]

# What an answer takes in memory beside its bytes and its name: two tuples, a set, and a reference for each body.
_OVERHEAD_BYTES = 600


class _Body(NamedTuple):
    """A further body that an answer was built from."""

    route: Read
    key: RestKey
    entry: "weakref.ref[MemoryEntry]"


class _Answer(NamedTuple):
    """The encoded ``data`` of a response, and the bodies it was built from beside the one that it is kept with."""

    data: msgspec.Raw
    others: tuple[_Body, ...]

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no content."""
        return "_Answer()"


def find_answer(plan: Plan, variables: VariableValues, context: OperationContext) -> msgspec.Raw | None:
    """Return the encoded ``data`` if it is kept, and report the cached responses that stand behind it."""
    if not context.loaders.has_cache:
        return None
    first = plan.first_read(context, variables)
    found = None if first is None else context.loaders.cached(*first)
    if first is None or found is None:
        return None
    answer: _Answer | None = found.derived(_name(plan, variables, context))
    if answer is None:
        return None
    ages = []
    for route, key, entry in answer.others:
        other = context.loaders.cached(route, key)
        if other is None or other.entry is not entry():
            return None
        ages.append((route, other.age))
    context.loaders.report_cached(first[0], found.age)
    for route, age in ages:
        context.loaders.report_cached(route, age)
    return answer.data


def kept_answer(plan: Plan, variables: VariableValues, context: OperationContext, data: Any) -> Any:
    """Return the ``data`` that a plan has built; encoded, if it is kept from now on."""
    if not context.loaders.has_cache or any(each.origin is not ResponseOrigin.CACHED for each in context.reports):
        return data
    first, bodies = plan.first_read(context, variables), _cached_bodies(context)
    here = None if first is None or bodies is None else bodies.pop(first, None)
    if here is None or bodies is None:
        return data
    name = _name(plan, variables, context)
    if name is None:
        return data
    others = tuple(_Body(route, key, weakref.ref(each.entry)) for (route, key), each in bodies.items())
    text = msgspec.json.encode(data)
    encoded = msgspec.Raw(text)
    here.derive(name, _Answer(encoded, others), len(text) + len(name[1]) + _OVERHEAD_BYTES * (1 + len(others)))
    return encoded


def _cached_bodies(context: OperationContext) -> dict[tuple[Read, RestKey], FreshEntry] | None:
    """Return the entries of all bodies of the operation; None if one of them is not, or no more, in the cache."""
    found: dict[tuple[Read, RestKey], FreshEntry] = {}
    for (route, key), body in context.loaders.bodies.items():
        entry = context.loaders.cached(route, key)
        if entry is None or not entry.holds(body.content):
            return None
        found[route, key] = entry
    return found


def _name(plan: Plan, variables: VariableValues, context: OperationContext) -> _Name | None:
    """Return the name of an answer; None where the variables have no JSON form, such as half a surrogate pair."""
    try:
        return plan.identity, msgspec.json.encode(variables.coerced), context.viewer.scopes
    except (TypeError, ValueError, OverflowError):
        return None
