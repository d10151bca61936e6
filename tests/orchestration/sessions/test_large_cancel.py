"""Cancel of a large tree: small transactions, resumed by a sweep, with a progress that staff can see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import Client

from accounts.models import Project
from ledger.models import Event, SkippedRow
from mailbox.models import Message
from orchestration.models import Cancellation, Session
from orchestration.sessions import cancel as session_cancel
from orchestration.sessions import launch, lifecycle, transitions, waits
from orchestration.states import TERMINAL, Status
from tests.orchestration import stages

MINUTE = 60.0


@pytest.fixture(autouse=True)
def three_are_many(timings: Any) -> None:
    timings(cancel_at_once_sessions=3)


def tree() -> tuple[Session, list[Session], list[Session]]:
    """A running top, three suspended sessions under it, each with two queued ones."""
    top = stages.running()
    middles = [stages.running(parent=top.pk) for _ in range(3)]
    leaves = [stages.queued(parent=middle.pk) for middle in middles for _ in range(2)]
    for middle in middles:
        assert lifecycle.suspend(middle.pk, 1)
    return top, middles, leaves


def cancel(top: Session) -> Cancellation:
    session_cancel.cancel(stages.project(), top.pk, "enough", stages.ACTOR)
    return Cancellation.objects.get(top=top)


def statuses(sessions: list[Session]) -> set[str]:
    return {stages.again(session).status for session in sessions}


@pytest.mark.django_db
class TestOneWorker:
    def test_the_call_itself_tells_the_top_alone(self) -> None:
        top, middles, leaves = tree()
        cancel(top)
        assert stages.again(top).cancel_requested_at is not None
        assert statuses(middles) == {"suspended"}
        assert statuses(leaves) == {"queued"}

    def test_nothing_is_spawned_under_the_top_from_then_on(self) -> None:
        top, _, _ = tree()
        cancel(top)
        with pytest.raises(Exception, match="being cancelled"):
            stages.queued(parent=top.pk)

    def test_everything_below_ends_and_each_end_reaches_its_parent(self) -> None:
        top, middles, leaves = tree()
        row = cancel(top)
        session_cancel.work(row.pk, MINUTE)
        assert statuses([*middles, *leaves]) == {"cancelled"}
        assert {stages.again(leaf).error for leaf in leaves} == {"enough"}
        for parent, children in ((top, 3), *((middle, 2) for middle in middles)):
            told = Message.objects.filter(address__name=parent.address, message_kind="completion")
            assert told.count() == children
        done = Cancellation.objects.get(pk=row.pk)
        assert (done.told, done.ended, done.finished_at is not None) == (10, 9, True)
        assert Event.objects.get(type="session_cancel_finished").payload == {"told": 10, "ended": 9}

    def test_a_running_child_is_told_and_has_its_grace(self) -> None:
        top, middles, _ = tree()
        deep = stages.running(parent=stages.running(parent=top.pk).pk)
        session_cancel.work(cancel(top).pk, MINUTE)
        assert stages.again(deep).status == "running"
        assert stages.again(deep).cancel_requested_at is not None
        assert statuses(middles) == {"cancelled"}

    def test_what_lies_below_a_session_that_is_over_is_found(self) -> None:
        top, middles, leaves = tree()
        transitions.requeue(middles[0].pk, 1, "on", out_of={Status.SUSPENDED})
        lifecycle.finish(middles[0].pk, 2, Status.ERROR, error="broken")
        session_cancel.work(cancel(top).pk, MINUTE)
        assert statuses(leaves) == {"cancelled"}
        assert stages.again(middles[0]).status == "error"

    def test_a_sweep_goes_on_after_a_kill_in_the_middle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        top, middles, leaves = tree()
        row = cancel(top)
        ends: list[UUID] = []

        def dies_at_the_fourth(cancellation: UUID, session: UUID, **options: Any) -> bool:
            ends.append(session)
            if len(ends) == 4:
                raise KeyboardInterrupt
            return real(cancellation, session, **options)

        real = session_cancel.end
        monkeypatch.setattr(session_cancel, "end", dies_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            session_cancel.work(row.pk, MINUTE)
        monkeypatch.undo()
        assert Cancellation.objects.get(pk=row.pk).ended == 3
        assert session_cancel.sweep() == 1
        assert statuses([*middles, *leaves]) == {"cancelled"}
        assert Cancellation.objects.get(pk=row.pk).ended == 9
        assert session_cancel.sweep() == 0

    def test_one_session_that_cannot_be_ended_stops_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        top, middles, leaves = tree()
        row = cancel(top)
        real, broken = lifecycle.stop, leaves[0].pk

        def fails_on_one(session: Session, *args: Any, **options: Any) -> None:
            if session.pk == broken:
                raise ValueError("no way")
            real(session, *args, **options)

        monkeypatch.setattr(lifecycle, "stop", fails_on_one)
        with pytest.raises(ValueError, match="no way"):
            session_cancel.work(row.pk, MINUTE)
        assert statuses([*middles, *leaves[1:]]) == {"cancelled"}
        assert Cancellation.objects.get(pk=row.pk).finished_at is None
        monkeypatch.undo()
        session_cancel.sweep()
        assert statuses(leaves) == {"cancelled"}
        assert Cancellation.objects.get(pk=row.pk).finished_at is not None

    def test_what_somebody_starts_again_meanwhile_is_left_alone(self) -> None:
        top, middles, _ = tree()
        row = cancel(top)
        session_cancel.work(row.pk, MINUTE)
        Cancellation.objects.filter(pk=row.pk).update(finished_at=None)
        lifecycle.retry(stages.project(), middles[0].pk, stages.ACTOR)
        fresh = stages.queued(parent=middles[0].pk)
        session_cancel.sweep()
        assert statuses([middles[0], fresh]) == {"queued"}

    def test_what_was_told_to_stop_is_neither_launched_nor_resumed(self) -> None:
        top, middles, leaves = tree()
        row = cancel(top)
        told = [pk for pk in (middles[0].pk, leaves[0].pk, leaves[1].pk) if session_cancel.tell(row.pk, pk)]
        assert len(told) == 3
        assert not launch.launch(leaves[0].pk, 1)
        assert stages.again(leaves[0]).status == "queued"
        for leaf in leaves[:2]:
            assert session_cancel.end(row.pk, leaf.pk)
        assert not waits.resume_if_due(middles[0].pk)
        assert waits.sweep() == 0
        assert stages.again(middles[0]).status == "suspended"

    def test_what_was_spawned_before_its_parent_was_told_is_found_though_the_parent_ended_meanwhile(self) -> None:
        top, middles, _ = tree()
        spawner = stages.running(parent=top.pk)
        row = cancel(top)
        late = stages.queued(parent=spawner.pk)
        Cancellation.objects.filter(pk=row.pk).update(requested_at=late.created_at - timedelta(seconds=1))
        lifecycle.finish(spawner.pk, 1, Status.COMPLETED, result="done")
        session_cancel.work(row.pk, MINUTE)
        assert stages.again(late).status == "cancelled"
        assert statuses(middles) == {"cancelled"}

    def test_asked_again_it_is_no_second_cancel(self) -> None:
        top, _, _ = tree()
        row = cancel(top)
        cancel(top)
        session_cancel.work(row.pk, MINUTE)
        lifecycle.finish(top.pk, 1, Status.CANCELLED, error="enough")
        cancel(top)
        assert Cancellation.objects.count() == 1

    def test_staff_see_how_far_it_is(self, admin_client: Client) -> None:
        top, _, _ = tree()
        cancel(top)
        page = admin_client.get(f"/admin/orchestration/session/{top.pk}/change/").content.decode()
        assert "Everything below is being cancelled" in page
        assert "1 sessions told to stop, 0 that did not run ended so far" in page
        front = admin_client.get("/admin/").content.decode()
        assert "trees being cancelled" in front
        listed = admin_client.get("/admin/orchestration/session/?state=cancelling").content.decode()
        assert str(top.pk) in listed


@pytest.fixture
def other_tree(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Cancellation]:
    """Makes and cancels a tree of another project."""
    other = Project.objects.create(slug="other")

    def make() -> Cancellation:
        with monkeypatch.context() as patched:
            patched.setattr(stages, "project", lambda: other)
            return cancel(tree()[0])

    return make


@pytest.mark.django_db
class TestSeveralTrees:
    def told(self, row: Cancellation) -> int:
        return Cancellation.objects.get(pk=row.pk).told

    def test_each_gets_a_piece_before_any_gets_a_second(
        self, other_tree: Callable[[], Cancellation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        large, small = cancel(tree()[0]), other_tree()
        monkeypatch.setattr(session_cancel, "PIECE_SECS", 0)
        monkeypatch.setattr(session_cancel, "SWEEP_SECS", 0)
        for round in range(1, 4):
            assert session_cancel.sweep() == 2
            assert (self.told(large), self.told(small)) == (1 + round, 1 + round)
        monkeypatch.setattr(session_cancel, "SWEEP_SECS", MINUTE)
        assert session_cancel.sweep() == 2
        assert not Cancellation.objects.filter(finished_at=None).exists()

    def test_a_project_with_many_trees_keeps_no_other_waiting(
        self, other_tree: Callable[[], Cancellation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = [cancel(tree()[0]) for _ in range(3)]
        one = other_tree()
        assert session_cancel.in_turn() == [many[0].pk, one.pk, many[1].pk, many[2].pk]
        monkeypatch.setattr(session_cancel, "MOST_TREES", 2)
        monkeypatch.setattr(session_cancel, "SWEEP_SECS", 0)
        session_cancel.sweep()
        assert [self.told(row) > 1 for row in (*many, one)] == [True, False, False, True]

    def test_one_that_fails_keeps_no_other_waiting_and_is_tried_once_in_a_sweep(
        self, other_tree: Callable[[], Cancellation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken, sound = cancel(tree()[0]), other_tree()
        real, tries = session_cancel.tell, list[UUID]()

        def fails_on_one(cancellation: UUID, *args: Any, **options: Any) -> bool:
            if cancellation == broken.pk:
                tries.append(cancellation)
                raise ValueError("no way")
            return real(cancellation, *args, **options)

        monkeypatch.setattr(session_cancel, "tell", fails_on_one)
        monkeypatch.setattr(session_cancel, "PIECE_SECS", 0)
        assert session_cancel.sweep() == 1
        assert Cancellation.objects.get(pk=sound.pk).finished_at is not None
        assert len(tries) == 1
        assert SkippedRow.objects.get(row=str(broken.pk)).times == 1
        monkeypatch.undo()
        assert session_cancel.sweep() == 1
        assert not SkippedRow.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestSeveralAtOnce:
    def test_workers_at_once_tell_and_end_each_session_once(self) -> None:
        top, middles, leaves = tree()
        row = cancel(top)
        threads = [threading.Thread(target=self.work, args=(row.pk,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(MINUTE)
        session_cancel.sweep()
        done = Cancellation.objects.get(pk=row.pk)
        assert (done.told, done.ended, done.finished_at is not None) == (10, 9, True)
        assert statuses([*middles, *leaves]) == {"cancelled"}
        assert Event.objects.filter(type="session_cancelling").count() == 10
        assert Event.objects.filter(type="session_cancel_finished").count() == 1

    def test_no_child_slips_out_while_the_tree_is_told(self) -> None:
        top, middles, _ = tree()
        transitions.requeue(middles[0].pk, 1, "on", out_of={Status.SUSPENDED})
        spawning = [threading.Thread(target=self.spawn, args=(middles[0].pk,)) for _ in range(4)]
        for thread in spawning:
            thread.start()
        cancel(top)
        for thread in spawning:
            thread.join(MINUTE)
        session_cancel.sweep()
        below = Session.objects.filter(parent=middles[0].pk)
        assert below.count() >= 2
        assert not below.exclude(status__in=sorted(TERMINAL)).exists()

    @staticmethod
    def work(cancellation: UUID) -> None:
        try:
            session_cancel.work(cancellation, MINUTE)
        finally:
            connections.close_all()

    @staticmethod
    def spawn(parent: UUID) -> None:
        try:
            for _ in range(10):
                stages.queued(parent=parent)
        except Exception as refusal:
            assert "being cancelled" in str(refusal)
        finally:
            connections.close_all()
