"""Every transition of a session: those of the table are allowed, all others are refused."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from core.db.clock import database_now
from orchestration.models import Attempt, Session
from orchestration.sessions import cancel, lifecycle, transitions
from orchestration.states import ARROWS, ENDED, TERMINAL, Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

PAIRS = [(start, to) for start in Status for to in Status]


def put(status: Status) -> Session:
    """A session in any state, its attempt with it."""
    session = stages.queued()
    over = {"finished_at": database_now()} if status in TERMINAL else {}
    Session.objects.filter(pk=session.pk).update(status=status, **over)
    ended = {"ended_at": database_now()} if status in ENDED else {}
    Attempt.objects.filter(session=session).update(status=status, **ended)
    return session


@pytest.mark.parametrize(("start", "to"), PAIRS, ids=lambda status: str(status))
def test_an_arrow_is_taken_exactly_when_the_table_has_it(start: Status, to: Status) -> None:
    session = put(start)
    if to in ARROWS[start]:
        change(session, to, set(Status))
        assert stages.again(session).status == to
    else:
        with pytest.raises(transitions.StaleState):
            change(session, to, set(Status))
        assert (stages.again(session).status, stages.again(session).attempt) == (start, 1)


def change(session: Session, to: Status, out_of: set[Status]) -> None:
    if to == Status.QUEUED:
        transitions.requeue(session.pk, 1, "again", out_of=out_of)
    else:
        transitions.move(session.pk, 1, to, out_of=out_of)


@pytest.mark.parametrize("start", sorted(ENDED))
@pytest.mark.parametrize("to", list(Status))
def test_out_of_an_end_nothing_leads_by_itself(start: Status, to: Status) -> None:
    session = put(start)
    with pytest.raises(transitions.StaleState):
        change(session, to, set(transitions.OPEN))
    assert not lifecycle.fail(session.pk, 1, "connection lost")


@pytest.mark.parametrize("to", sorted(TERMINAL))
def test_an_old_attempt_takes_no_arrow(to: Status) -> None:
    session = stages.running()
    transitions.requeue(session.pk, 1, "again")
    transitions.move(session.pk, 2, Status.STARTING)
    lifecycle.started(session.pk, 2)
    with pytest.raises(transitions.StaleState):
        transitions.move(session.pk, 1, to)
    assert not lifecycle.finish(session.pk, 1, to)
    assert stages.again(session).status == "running"


def test_the_end_of_an_attempt_is_for_ever() -> None:
    session = stages.suspended()
    before = Attempt.objects.values().get(session=session, number=1)
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    assert Attempt.objects.values().get(session=session, number=1) == before


def refused_by_the_database(session: Session, **columns: object) -> bool:
    try:
        with transaction.atomic():
            Session.objects.filter(pk=session.pk).update(**columns)
    except IntegrityError:
        return True
    return False


def test_the_database_knows_the_words_and_their_meaning() -> None:
    session = stages.running()
    assert refused_by_the_database(session, status="odd")
    assert refused_by_the_database(session, status="completed")
    assert refused_by_the_database(session, finished_at=database_now())
    assert refused_by_the_database(session, runner="")


def test_the_database_refuses_a_second_open_attempt() -> None:
    session = stages.running()
    with pytest.raises(IntegrityError), transaction.atomic():
        Attempt.objects.create(session=session, number=2)
