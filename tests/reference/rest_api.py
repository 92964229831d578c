"""The page of the REST API, from the contract in gateway/upstream/contract."""

from collections.abc import Iterator

from gateway.settings import CacheSettings
from gateway.upstream.contract import ENUMERATIONS, EVENTS, ROUTES, TYPES, Certainty, Read, Route, Write
from tests.reference.table import code, table

_INTRODUCTION = """
# REST API

What the gateway knows of the Go!Chat REST API, and how sure that is:

- **documented**: the vendor's public reference says so.
- **inferred**: it follows from the reference, which does not say it.
- **unknown**: nobody knows. The gateway works whatever it turns out to be.

What has no certainty in a table is documented. Every field may be absent or null, except where the `id` of an object is
never missing. Unknown fields are ignored. Rate limits are unknown: the gateway obeys 429, 503 and `Retry-After`.
"""
_ROUTES = """
Calls need a Basic credential or a token. A token is valid for one hour.

The column subject says what a cached response is about, and of a write, what it changes: a purge names the subject. The
column fresh says how long a cached response is fresh, and which setting changes that.
"""
_EVENTS = """
The vendor posts events to one callback URL as `WebhookEvent`, with an `Authorization` header whose value the operator
chose. Whether they are delivered once, in order, or at all is unknown. Other codes exist.
"""


def rest_api_page() -> str:
    """Return the page."""
    routes = table(("route", "call", "request", "success", "subject", "fresh", "certainty", "note"), _routes())
    events = table(("code", "meaning", "data", "ids in the data", "certainty of the ids"), _events())
    enumerations = table(("enumeration", "values", "note"), _enumerations())
    parts = [_INTRODUCTION, f"## Routes\n{_ROUTES}\n{routes}\n", f"## Events\n{_EVENTS}\n{events}\n"]
    parts.append(f"## Enumerations\n\nWhere the values are unknown, any text or integer may come.\n\n{enumerations}\n")
    return "\n".join([*parts, "## Objects\n", *(_object(name) for name in TYPES)])


def _routes() -> Iterator[tuple[str, ...]]:
    for name, route in ROUTES.items():
        success = f"{route.status} {code(route.response)}" if route.response else str(route.status)
        yield (
            code(name),
            _call(route),
            _request(route),
            success,
            _subject(route),
            _fresh(route),
            route.certainty,
            (route.note),
        )


def _call(route: Route) -> str:
    return code(f"{route.method} {route.template}")


def _request(route: Route) -> str:
    match route:
        case Read(query=(_, *_) as query):
            return code("?" + "&".join(f"{each.name}={{{each.kind}}}" for each in query))
        case Write():
            return code(route.request)
    return ""


def _subject(route: Route) -> str:
    subject = route.subject if isinstance(route, Read) else route.purges if isinstance(route, Write) else None
    return "" if subject is None else code(f"{subject.kind}:{{{subject.by}}}")


def _fresh(route: Route) -> str:
    if not isinstance(route, Read) or route.fresh is None:
        return ""
    seconds = f"{route.fresh.seconds} s"
    setting = CacheSettings.model_fields[route.fresh.setting].alias if route.fresh.setting else None
    return f"{seconds}, {code(setting)}" if setting else seconds


def _events() -> Iterator[tuple[str, ...]]:
    for each in EVENTS.values():
        data = code(each.data) if each.data else Certainty.UNKNOWN.value
        yield code(each.code), each.note, data, code(*each.ids.paths), each.ids.certainty


def _enumerations() -> Iterator[tuple[str, ...]]:
    for each in ENUMERATIONS.values():
        yield code(each.name), code(*each.values) if each.values else each.certainty, each.note


def _object(name: str) -> str:
    of = TYPES[name]
    sentences = [of.note, "It has more fields than these." if of.is_open else ""]
    sentences.append("Its `id` is never missing." if of.identified else "")
    rows = (
        (
            code(each.name),
            code(each.kind) + (f" ({each.format})" if each.format else ""),
            "" if each.certainty is Certainty.DOCUMENTED else each.certainty,
            " ".join(filter(None, [f"Deprecated: use `{each.deprecated}`." if each.deprecated else "", each.note])),
        )
        for each in of.fields
    )
    text = " ".join(filter(None, sentences))
    fields = table(("field", "type", "certainty", "note"), rows)
    return f"### {name}\n\n{text}\n\n{fields}\n" if text else f"### {name}\n\n{fields}\n"
