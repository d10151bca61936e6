"""Programs that wait for answers by webhooks: none is lost to a late start, and each end has its own word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from accounts.models import User
from approvals import decisions
from core.db.clock import read_database_clock
from ledger import feed
from ledger.webhooks import receivers
from tests.approvals.notify.acting import ask, decide
from tests.clock import call_at
from tests.ledger.webhooks.receiver import Receiver, receiving, send_all
from tests.people import owner

pytestmark = pytest.mark.django_db
SELF = Actor.system("tests")


@pytest.fixture
def waiters(settings: Any) -> Iterator[list[Receiver]]:
    settings.WEBHOOKS_PRIVATE = True
    with ExitStack() as stack:
        yield [stack.enter_context(receiving()) for _ in range(2)]


def ends(receiver: Receiver) -> list[tuple[str, str, str]]:
    told = (json.loads(body) for _, body in receiver.got)
    return [(each["type"], each["data"]["approval"], each["data"]["status"]) for each in told]


def test_each_receiver_gets_each_end_also_of_before_it_was_added(waiters: list[Receiver]) -> None:
    project, person = projects.default(), owner()
    start = feed.head(project.pk)
    asked = [ask(), ask(), ask(expires_in_secs=60)]
    decide(asked[0], person)
    for each in waiters:
        types = ["approval_decided", "approval_cancelled", "approval_expired"]
        receivers.create(project.pk, SELF, url=each.url, types=types, after=start)
    send_all()
    decisions.withdraw(project.pk, asked[1].pk, Actor.of_user(User.objects.get(pk=person.pk)))
    assert call_at(read_database_clock() + timedelta(seconds=61), decisions.expire_due) == 1
    send_all()
    expected = [("decided", "approved"), ("cancelled", "cancelled"), ("expired", "expired")]
    for each in waiters:
        assert ends(each) == [
            (f"approval_{type}", str(one.pk), status) for one, (type, status) in zip(asked, expected, strict=True)
        ]
