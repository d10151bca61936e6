"""Every scheduled job meets a row that cannot be processed, does its work for the others, and reports it."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connection, models
from django.test import Client

from accounts import credentials, projects
from accounts.actors import Actor
from accounts.models import CredentialKind, IdempotencyKey, User
from approvals.models import Approval, Review, Reviewer, Subject
from approvals.outcomes import repeats
from approvals.rules import timeline
from config.celery import app
from core.db.clock import read_database_clock
from ledger import health, outages, unit_of_work
from ledger.models import Delivery, OutboxEntry, SkippedRow, Webhook
from ledger.webhooks import receivers
from mailbox import claims, delivery
from mailbox.envelope import NewMessage
from mailbox.models import Message, Waiting
from orchestration import tasks
from orchestration.models import Session, WebProcess
from orchestration.sessions import cancel, dispatch, waits
from server.health import CHECKS
from tests import people
from tests.house.sources import app_files
from tests.orchestration import stages

pytestmark = pytest.mark.django_db(transaction=True)


@dataclasses.dataclass(frozen=True)
class Case:
    """A planted bad row: the work that skips it, the check of the other rows, and its repair."""

    work: str
    is_done: Callable[[], bool]
    mend: Callable[[], object]


def ago(secs: float) -> Any:
    return read_database_clock() - timedelta(seconds=secs)


def spoil(row: models.Model, column: str) -> Callable[[], object]:
    """Give the row a moment that its database keeps and Python cannot read. The answer mends it."""
    rows = type(row)._default_manager.filter(pk=row.pk)
    odd = "infinity" if connection.vendor == "postgresql" else "2026-13-45 99:99:99"
    field, table = type(row)._meta.get_field(column), type(row)._meta.db_table
    key = type(row)._meta.pk.get_db_prep_value(row.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {field.column} = %s WHERE id = %s", [odd, key])  # type: ignore[union-attr]
    return lambda: rows.update(**{column: ago(100)})


def has_status(session: Session, status: str) -> Callable[[], bool]:
    return lambda: Session.objects.filter(pk=session.pk, status=status).exists()


# --- one row of each kind --------------------------------------------------------------------------------------


def silent(**columns: Any) -> Session:
    session = stages.running(metadata={"child_watchdog.max_idle_secs": 1, "child_watchdog.check_interval_secs": 1})
    stages.set_attempt(session, running_at=ago(100), **columns)
    return session


def metadata() -> Case:
    bad, good = silent(), silent()
    Session.objects.filter(pk=bad.pk).update(metadata=[1])
    return Case("limits", has_status(good, "timeout"), lambda: Session.objects.filter(pk=bad.pk).update(metadata={}))


def event_time() -> Case:
    bad, good = silent(last_event_at=ago(90)), silent()
    return Case("limits", has_status(good, "timeout"), spoil(stages.attempt(bad), "last_event_at"))


def running_session() -> Case:
    bad, good = silent(), silent()
    return Case("limits", has_status(good, "timeout"), spoil(bad, "created_at"))


def first_word() -> Case:
    sessions = [stages.starting(), stages.starting()]
    for session in sessions:
        stages.set_attempt(session, launched_at=ago(100), relaunched=True)
    return Case("first words", has_status(sessions[1], "error"), spoil(sessions[0], "created_at"))


def launch() -> Case:
    sessions = [stages.queued(assignment=""), stages.queued(assignment="")]
    Session.objects.update(queued_at=ago(100))
    return Case("launches", has_status(sessions[1], "skipped"), spoil(sessions[0], "created_at"))


def lost_connection() -> Case:
    WebProcess.objects.create(host="a", pid=1)
    outages.note_life(outages.HEARTBEATS)
    sessions = [stages.running(), stages.running()]
    for session in sessions:
        stages.set_attempt(session, connection_since=ago(200), connection_lost_at=ago(100))
    return Case("lost connections", has_status(sessions[1], "error"), spoil(sessions[0], "created_at"))


def exit_without_a_word() -> Case:
    sessions = [stages.running(), stages.running()]
    for session in sessions:
        stages.set_attempt(session, exited_at=ago(100), exit_status=3)
    return Case("exits", has_status(sessions[1], "error"), spoil(sessions[0], "created_at"))


def cancel_without_heed() -> Case:
    sessions = [stages.running(), stages.running()]
    Session.objects.update(cancel_requested_at=ago(100), cancel_reason="enough")
    return Case("cancels", has_status(sessions[1], "cancelled"), spoil(sessions[0], "created_at"))


def deadline() -> Case:
    asked = [stages.asked(stages.running()) for _ in range(2)]
    Approval.objects.update(expires_at=ago(100))
    good = Approval.objects.filter(pk=asked[1].pk, status="expired")
    return Case("deadlines", good.exists, spoil(asked[0], "requested_at"))


def left_by_an_end() -> Case:
    asked = [stages.asked(stages.running()) for _ in range(2)]
    Subject.objects.update(closed_at=ago(100), pending=0, waiting_since=None)
    good = Approval.objects.filter(pk=asked[1].pk, status="cancelled")
    return Case("left by an end", good.exists, spoil(asked[0], "requested_at"))


def approved(**columns: Any) -> dict[str, Any]:
    """Return the columns of an approval by a rule that was taken to run long ago."""
    by = {"decision_kind": "approve", "decided_by": {}, "decided_via": "rule"}
    return {"status": "approved", **by, "settled_at": ago(9000), "consumed_at": ago(9000), **columns}


def outcome_without_a_report() -> Case:
    taken = [stages.asked(stages.running()) for _ in range(2)]
    Approval.objects.update(**approved())
    good = Approval.objects.filter(pk=taken[1].pk, outcome="unknown")
    return Case("outcomes", good.exists, spoil(taken[0], "requested_at"))


def missed_repeat() -> Case:
    ran, bad, good = (stages.asked(stages.running()) for _ in range(3))
    doubt = {"outcome": "unknown", "outcome_unknown_at": ago(50), "repeat_digest": repeats.digest_of(ran.action)}
    Approval.objects.filter(pk=ran.pk).update(**approved(**doubt))
    warned = Approval.objects.filter(pk=good.pk, repeat_warning__isnull=False)
    return Case("repeats", warned.exists, spoil(bad, "requested_at"))


def step_of_a_rule() -> Case:
    bad, good = (stages.asked(stages.running()) for _ in range(2))
    steps = {"steps": [{"kind": "remind", "after_secs": 1, "rule": "r"}]}
    Approval.objects.update(next_step_at=ago(100), terms=steps)
    Approval.objects.filter(pk=bad.pk).update(terms={})
    done = Approval.objects.filter(pk=good.pk, steps_done=1)
    return Case(timeline.WORK.name, done.exists, lambda: Approval.objects.filter(pk=bad.pk).update(terms=steps))


def review() -> Case:
    bad, good = (stages.asked(stages.running()) for _ in range(2))
    who = {"project": stages.project(), "name": "r", "kind": "program", "entry_point": "r", "changed_by": {}}
    reviewer = Reviewer.objects.create(**who, changed_at=ago(100))
    shown = [{"reviewer": "r", "may_allow": False, "state": "waiting"}]
    Approval.objects.update(reviews=shown)
    for row in (bad, good):
        Review.objects.create(approval=row, reviewer=reviewer, name="r", deadline_at=ago(100))
    Approval.objects.filter(pk=bad.pk).update(reviews=5)
    rows = Approval.objects.filter(pk=bad.pk)
    return Case(
        "reviews past their deadline",
        lambda: not Review.objects.filter(approval=good).exists(),
        lambda: rows.update(reviews=shown),
    )


def claim() -> Case:
    project = stages.project().pk
    for address in ("a", "b"):
        messages = [NewMessage(message_kind="task", body={"text": "x"}, id=f"{address}{number}") for number in range(2)]
        delivery.deliver(project, address, messages)
        claims.drain(project, address)
    Waiting.objects.update(claim_expires_at=ago(100), tries=99)
    good = Message.objects.filter(dead_lettered=True).exclude(message_id="a0")
    return Case("claims", lambda: good.count() == 3, spoil(Message.objects.get(message_id="a0"), "received_at"))


def owed_hint() -> Case:
    stages.queued(), stages.queued()
    bad, good = OutboxEntry.objects.order_by("pk")
    OutboxEntry.objects.update(sent_at=None, due_at=ago(100), tries=0)
    kept = bad.payload
    OutboxEntry.objects.filter(pk=bad.pk).update(payload={})
    sent = OutboxEntry.objects.filter(pk=good.pk, sent_at__isnull=False)
    return Case("launches", sent.exists, lambda: OutboxEntry.objects.filter(pk=bad.pk).update(payload=kept))


def wait() -> Case:
    sessions = [stages.suspended(), stages.suspended()]
    kept = stages.again(sessions[0]).waiting_for
    Session.objects.filter(status="suspended").update(wait_until=ago(100))
    bad = Session.objects.filter(pk=sessions[0].pk)
    bad.update(waiting_for={"children": 5})
    return Case("waits", has_status(sessions[1], "queued"), lambda: bad.update(waiting_for=kept))


def webhook() -> Case:
    project = projects.default()
    actor, url = Actor.system("tests"), "https://10.0.0.1.example/"
    bad, good = (receivers.create(project.pk, actor, url=url, types=["*"])[0] for _ in range(2))
    Webhook.objects.filter(pk=bad.pk).update(types=5)
    stages.queued()
    # Without the network: the address is refused when it is sent.
    Webhook.objects.update(url="https://10.0.0.1/")
    made = Delivery.objects.filter(webhook=good)
    return Case("webhooks", made.exists, lambda: Webhook.objects.filter(pk=bad.pk).update(types=["*"]))


def tree() -> Case:
    tops = [stages.running(), stages.running()]
    below = [stages.queued(parent=top.pk) for top in tops]
    for top in tops:
        with unit_of_work.transaction():
            cancel._begin(top, "enough")
    return Case("trees", has_status(below[1], "cancelled"), spoil(below[0], "created_at"))


def old_row() -> Case:
    user = people.owner("x")
    key, _ = credentials.mint(kind=CredentialKind.API, project=stages.project(), user=user, scopes=[], name="k")
    for name in ("bad", "good"):
        IdempotencyKey.objects.create(credential=key, route="r", key=name, body_hash="", created_at=ago(10**6))
    bad = IdempotencyKey.objects.get(key="bad")
    keep(IdempotencyKey._meta.db_table, bad.pk)
    return Case("idempotencykey", lambda: not IdempotencyKey.objects.filter(key="good").exists(), let_go)


def keep(table: str, pk: int) -> None:
    """Let the database refuse to delete one row."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            when = f"BEFORE DELETE ON {table} WHEN OLD.id = {pk}"
            cursor.execute(f"CREATE TRIGGER kept {when} BEGIN SELECT RAISE(ABORT, 'kept'); END")
        else:
            does = "BEGIN RAISE EXCEPTION 'kept'; END"
            cursor.execute(f"CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS $$ {does} $$")
            when = f"BEFORE DELETE ON {table} FOR EACH ROW WHEN (OLD.id = {pk})"
            cursor.execute(f"CREATE TRIGGER kept {when} EXECUTE FUNCTION kept()")


def let_go() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER IF EXISTS kept")
        else:
            cursor.execute("DROP FUNCTION IF EXISTS kept CASCADE")


CASES: dict[str, list[Callable[[], Case]]] = {
    "launch_sweep": [first_word, launch],
    "connections_sweep": [lost_connection, exit_without_a_word, cancel_without_heed],
    "watchdog_sweep": [metadata, event_time, running_session],
    "approvals_expiry_sweep": [deadline, left_by_an_end, outcome_without_a_report, missed_repeat, step_of_a_rule],
    "claims_sweep": [claim],
    "outbox_sweep": [owed_hint],
    "deliveries_sweep": [webhook],
    "reviews_sweep": [review],
    "waits_sweep": [wait],
    "cancels_sweep": [tree],
    "retention_sweep": [old_row],
}


#: The kinds of work that these cases leave a row of.
WORKS = {
    "launch_sweep": {"first words", "launches"},
    "connections_sweep": {"lost connections", "exits", "cancels"},
    "watchdog_sweep": {"limits"},
    "approvals_expiry_sweep": {"deadlines", "left by an end", "outcomes", "repeats", "reminders and escalations"},
    "claims_sweep": {"claims"},
    "outbox_sweep": {"launches"},
    "deliveries_sweep": {"webhooks"},
    "reviews_sweep": {"reviews past their deadline"},
    "waits_sweep": {"waits"},
    "cancels_sweep": {"trees"},
    "retention_sweep": {"idempotencykey"},
}
#: These go over files and single columns by the same loop; test_folders and test_clock_steps have their cases.
BY_FILE = {
    # tests/approvals/notify has their cases.
    ("deliveries_sweep", "people"),
    ("deliveries_sweep", "notices"),
    ("retention_sweep", "logs of supervisors"),
    ("retention_sweep", "work folders"),
    ("connections_sweep", "moments in the future"),
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No hint is held back, no child is started, and no trigger is left."""
    monkeypatch.setattr(dispatch, "_silent_until", 0.0)
    yield
    let_go()


def run(job: str) -> None:
    assert tasks, "their import registers them"
    app.tasks[f"orchestration.{job}"]()


def test_every_job_of_the_schedule_has_its_bad_row() -> None:
    assert set(CASES) == set(settings.CELERY_BEAT_SCHEDULE)


@pytest.mark.parametrize(("job", "plant"), [(job, plant) for job, plants in CASES.items() for plant in plants])
def test_a_job_does_its_work_beside_a_row_that_cannot_be_processed(
    job: str, plant: Callable[[], Case], caplog: pytest.LogCaptureFixture
) -> None:
    case = plant()
    with caplog.at_level(logging.WARNING):
        run(job)
    assert case.is_done()
    (left,) = SkippedRow.objects.all()
    assert (left.sweep, left.work, left.why) == (job, case.work, "failed")
    assert case.work in WORKS[job]
    assert left.row in caplog.text
    assert health.trouble()[job] == "1 row cannot be processed"
    part = CHECKS["sweeps"]()
    assert (part["ok"], part["trouble"][job]) == (False, "1 row cannot be processed")
    run(job)
    assert SkippedRow.objects.get().pk == left.pk, "it is tried again, and stays one record"
    case.mend()
    run(job)
    assert not SkippedRow.objects.exists()
    assert job not in health.trouble()


def test_rows_that_cannot_be_processed_never_fill_a_batch() -> None:
    bad = [stages.suspended() for _ in range(3)]
    Session.objects.filter(pk__in=[session.pk for session in bad]).update(
        waiting_for={"children": 5}, wait_until=ago(200)
    )
    good = [stages.suspended() for _ in range(2)]
    Session.objects.filter(pk__in=[session.pk for session in good]).update(wait_until=ago(100))
    for _ in range(4):
        waits.sweep(limit=2)
    assert [stages.again(session).status for session in good] == ["queued", "queued"]
    assert SkippedRow.objects.count() == 3


def test_the_front_page_counts_such_rows_and_the_page_of_the_sweep_names_them(admin_client: Client) -> None:
    case = wait()
    run("waits_sweep")
    row = SkippedRow.objects.get().row
    front = admin_client.get("/admin/").content.decode()
    assert "waits (1 row cannot be processed)" in front
    assert row in admin_client.get("/admin/ledger/sweep/waits_sweep/change/").content.decode()
    case.mend()
    run("waits_sweep")
    assert "cannot be processed" not in admin_client.get("/admin/").content.decode()


def test_only_superusers_see_which_rows_they_are(client: Client) -> None:
    wait()
    run("waits_sweep")
    staff = User.objects.create_user("staff", password="x", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_sweep"))
    client.force_login(staff)
    page = client.get("/admin/ledger/sweep/waits_sweep/change/")
    assert page.status_code == 200
    assert SkippedRow.objects.get().row not in page.content.decode()


def test_every_kind_of_work_of_a_sweep_has_its_bad_row() -> None:
    written = set(re.findall(r'Work\("(\w+)", "([\w ]+)"\)', "".join(path.read_text() for path in app_files())))
    losses = {("connections_sweep", name) for name in ("cancels", "exits", "lost connections")}
    planted = {(job, work) for job, works in WORKS.items() for work in works}
    assert written - BY_FILE == planted - losses - {("retention_sweep", "idempotencykey")}
