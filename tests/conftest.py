"""Backends, private servers, a migrated database, and `stack` for a whole Wardroom.

`--backend sqlite` (the default) or `--backend postgres` chooses the database and broker; see tests/servers/run.py.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import django
import httpx
import hypothesis
import pytest
from django.conf import settings

from tests import document
from tests.order import Order
from tests.servers import RabbitMQ, Redis
from tests.servers.postgres import Cluster
from tests.servers.run import BACKENDS, SHARED, Run, chosen_backend
from tests.servers.stack import House

if settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE"):
    raise SystemExit("Unset DJANGO_SETTINGS_MODULE: the tests choose their own database, and yours must not be it.")

# Django reads its settings here, before any other conftest may import a model. Nothing is connected to yet.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
RUN = Run(chosen_backend(sys.argv), _worker, os.environ.get(SHARED) if _worker else None)
for _name in set(os.environ) - set(RUN.environment()):
    if not _name.startswith("PYTEST_"):
        del os.environ[_name]
os.environ.update(RUN.environment() | {"WARDROOM_TEST_BACKEND": RUN.backend})
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
# The usual hash of a password takes a third of a second, on purpose. Whole Wardrooms that tests start keep it.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]

# `httpx.get` makes a TLS context for each call, also for plain HTTP: 25 ms of a processor in each look of a wait.
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

# An example that takes its time says that the machine is busy, not that the code is wrong.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=BACKENDS, help="the database and broker to run on (default: sqlite)")


def pytest_configure(config: pytest.Config) -> None:
    document.watch()
    if RUN.backend == "postgres" and not _worker and not config.option.collectonly:
        RUN.up(RUN.postgres)


def pytest_unconfigure() -> None:
    RUN.close()


def pytest_report_header() -> str:
    return f"backend: {RUN.backend}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    # A worker inherits our environment, and pytest-django would read settings with our database's URL in it.
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Made-up ids get a name that is the same in every worker."""
    if isinstance(val, str | uuid.UUID) and UUID.search(str(val)):
        return UUID.sub("uuid", str(val))
    return None


#: Folders whose every test is `once`.
ONCE = ("tests/house", "tests/wardroom")
#: Markers and fixtures of a test that runs on the chosen backend.
BACKENDS_OWN = {"backend", "db", "django_db", "stack", "transactional_db"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of a whole run on PostgreSQL the tests that ran beside SQLite and say nothing about a database."""
    once = {item for item in items if item.nodeid.startswith(ONCE) or item.get_closest_marker("once")}
    for item in once:
        names = {mark.name for mark in item.iter_markers()} | set(getattr(item, "fixturenames", ()))
        if names & BACKENDS_OWN and "only_embedded" not in names:
            raise pytest.UsageError(f"{item.nodeid} is marked `once`, but uses {', '.join(names & BACKENDS_OWN)}")
    items.sort(key=Order(items))
    if RUN.backend == "sqlite" or config.args != ["tests"] or "surface" in config.option.markexpr:
        return
    once |= {item for item in items if item.get_closest_marker("surface")}
    config.hook.pytest_deselected(items=list(once))
    items[:] = [item for item in items if item not in once]


# --- the database -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """A copy of the migrated database, at the URL that settings already hold."""
    from django.db import connections

    databases = RUN.databases(RUN.backend)
    databases.copy(RUN.migrated(RUN.backend), RUN.name)
    with django_db_blocker.unblock():
        INITIAL.remember()
    yield
    with django_db_blocker.unblock():
        connections.close_all()
        if RUN.backend == "postgres":
            connections["default"].close_pool()  # type: ignore[attr-defined]
    databases.drop(RUN.name)


class InitialRows:
    """Rows from migrations. The flush after a transactional test deletes them."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, list[Any]]] = []

    def remember(self) -> None:
        from django.apps import apps
        from django.core.serializers import sort_dependencies
        from django.db import connection

        models = sort_dependencies([(app, None) for app in apps.get_app_configs()])
        self._rows = [(model, list(model._base_manager.all())) for model in models if model._meta.managed]
        # Django then leaves out its own, slower, refilling after a flush.
        connection._test_serialized_contents = "[]"  # type: ignore[attr-defined]

    def restore(self) -> None:
        for model, rows in self._rows:
            if rows:
                model._base_manager.bulk_create(rows)


INITIAL = InitialRows()


@pytest.fixture(autouse=True)
def django_db_serialized_rollback() -> None:
    """Named so for pytest-django: a flush leaves the refilling to `InitialRows`."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    from tests.threads import operations_have_ended

    if is_transactional(item):
        operations_have_ended()
    # A test that its mark skips has no fixtures, and nothing is flushed after it.
    flushed = is_transactional(item) and bool(getattr(item, "funcargs", None))
    yield
    if nextitem is not None and flushed:
        from pytest_django.plugin import blocking_manager_key

        with item.config.stash[blocking_manager_key].unblock():
            INITIAL.restore()


def is_transactional(item: pytest.Item) -> bool:
    """Return True if pytest-django flushes the database after the test."""
    marker = item.get_closest_marker("django_db")
    asked = marker is not None and (marker.kwargs.get("transaction") or marker.args[:1] == (True,))
    return bool(asked) or "transactional_db" in getattr(item, "fixturenames", ())


# --- servers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def backend() -> str:
    """`sqlite` or `postgres`."""
    return RUN.backend


@pytest.fixture(scope="session", autouse=True)
def broker() -> Redis:
    """The Valkey or Redis that this process's settings name. Nobody else uses it."""
    return RUN.up(RUN.broker)


@pytest.fixture(scope="session")
def postgres() -> Cluster:
    """A PostgreSQL: where that is the backend, the run's only one. A test that stops it makes its own."""
    return Cluster(RUN.databases("postgres").folder)


@pytest.fixture(scope="session")
def rabbitmq() -> RabbitMQ:
    """A RabbitMQ; `create(vhost)` gives a test its own namespace."""
    return RUN.up(RUN.rabbitmq)


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Iterator[Callable[..., House]]:
    """A factory of whole Wardrooms; see tests/servers/stack.py. Logs are shown when the test fails."""
    houses: list[House] = []

    def make(*, database: str | None = None, broker: str | None = None, **options: Any) -> House:
        kind = database or RUN.backend
        usual = "redis" if kind == "postgres" else "valkey"
        house = House(RUN, database=kind, broker=broker or usual, **options)
        houses.append(house)
        return house.open()

    yield make
    report = getattr(request.node, "report_of_call", None)
    for number, house in enumerate(houses, 1):
        if report is None or report.failed:
            request.node.add_report_section("call", f"logs of house {number}", house.logs())
        house.close()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(config: pytest.Config, report: Any) -> Any:
    """Escape lone surrogates in the output of a test. A worker cannot send them, and the whole run would end."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(name): _sendable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_sendable, value))
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.report_of_call = report  # type: ignore[attr-defined]
    return report


@pytest.fixture
def timings() -> Iterator[Any]:
    """Other numbers of the design: `timings(claim_tries=1)`, for the rest of the test or for a `with` block."""
    from tests.limits import Timings

    change = Timings()
    yield change
    change.restore()
