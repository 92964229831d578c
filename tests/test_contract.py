"""The contract of the REST API is consistent, and what else lists a part of it agrees: graph, sandbox, cache."""

import re

import pytest

from gateway.settings import CacheSettings
from gateway.upstream.contract import ENUMERATIONS, EVENTS, READS, ROUTES, TYPES, WRITES, Field, Read, Route, Write
from gateway.upstream.contract.model import SCALARS

NAME = re.compile(r"[a-z][a-z0-9_]*")
KINDS = {*SCALARS, *TYPES, *ENUMERATIONS}
SUBJECTS = {"thread", "customer"}
"""What the cache purges; an event names these."""


def fields_of(name: str) -> dict[str, Field]:
    return {each.name: each for each in TYPES[name].fields}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_fields_of_known_kinds_in_order_and_once(name: str) -> None:
    fields = TYPES[name].fields
    assert [each.name for each in fields if not NAME.fullmatch(each.name)] == []
    assert [each.name for each in fields if each.of not in KINDS] == []
    assert len(fields_of(name)) == len(fields)
    assert TYPES[name].identified == ("id" in fields_of(name) and fields_of(name)["id"].kind == "str")
    for each in fields:
        assert each.deprecated is None or each.deprecated in fields_of(name)
        assert each.kind in {each.of, f"[{each.of}]"}


def test_every_type_and_enumeration_is_used() -> None:
    used = {each.of for kind in TYPES.values() for each in kind.fields}
    bodies = {each.response for each in ROUTES.values()} | {each.request for each in WRITES}
    assert set(TYPES) - used - bodies == {"Errors", "WebhookEvent", "CustomersUpdated"}
    assert set(ENUMERATIONS) <= used


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_route_names_types_that_exist(route: Route) -> None:
    assert re.fullmatch(r"/api/v1(/[a-z]+|/\{[a-z_]+\})+", route.template)
    assert (route.response is None) == (route.status == 204)
    assert route.response is None or route.response in TYPES
    assert NAME.fullmatch(route.name)
    match route:
        case Read():
            assert route.subject.by == route.parameter
            assert route.subject.kind in SUBJECTS
            assert all(each.kind == "int" for each in route.query)
        case Write():
            assert route.request in TYPES
            if route.purges is not None:
                assert route.purges.kind in SUBJECTS
                assert route.purges.by in {route.parameter, *fields_of(route.request)}


def test_names_and_targets_of_routes_are_unique() -> None:
    assert len({(each.method, each.template) for each in ROUTES.values()}) == len(READS) + len(WRITES) == len(ROUTES)


def test_a_write_with_a_thread_in_it_purges_it() -> None:
    assert [each.name for each in WRITES if each.purges is None] == ["chat_token", "token"]


@pytest.mark.parametrize("code", EVENTS)
def test_an_event_names_a_subject_that_some_route_reads(code: str) -> None:
    event = EVENTS[code]
    assert event.code == code
    assert event.ids.subject in {each.subject.kind for each in READS}
    assert event.data is None or event.data in TYPES
    for path in event.ids.paths:
        assert re.fullmatch(r"([a-z_]+(\[\])?\.)*[a-z_]+", path)


@pytest.mark.parametrize("route", READS, ids=lambda each: each.name)
def test_a_freshness_is_the_default_of_its_setting(route: Read) -> None:
    if route.fresh is not None and route.fresh.setting is not None:
        assert CacheSettings.model_fields[route.fresh.setting].default == route.fresh.seconds


def test_every_time_in_the_cache_belongs_to_a_route() -> None:
    settings = {name for name in CacheSettings.model_fields if name.startswith("ttl_")}
    assert settings == {each.fresh.setting for each in READS if each.fresh is not None} - {None}
