from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from accounts.models import Project
from ledger import unit_of_work
from ledger.models import Webhook
from ledger.webhooks import receivers
from tests.ledger.webhooks.receiver import Receiver, receiving

SELF = Actor.system("tests")


@pytest.fixture(autouse=True)
def private(settings: Any) -> None:
    """Receivers of these tests are on this host."""
    settings.WEBHOOKS_PRIVATE = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def project(db: None) -> Project:
    return projects.default()


def add(project: Project, url: str, *types: str, after: int | None = None) -> tuple[Webhook, str]:
    return receivers.create(project.pk, SELF, url=url, types=list(types) or ["*"], after=after)


def happen(project: Project, *types: str, **payload: Any) -> None:
    """Write events of Wardroom's own, in one transaction."""
    with unit_of_work.transaction():
        for each in types:
            unit_of_work.event(project.pk, each, payload)
