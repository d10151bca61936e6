"""A project in which every row that the admin shows exists, with hostile text in every field that others write."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.utils import timezone

from accounts import credentials
from accounts.actors import Actor
from accounts.models import Credential, Project, User
from approvals import attempt_clock, decisions, requests
from approvals.canonical_action import Ask
from approvals.models import Approval, Grant, Plan, PlanStep, Reviewer, Rule
from ledger import unit_of_work
from ledger.models import AuditEntry, Delivery, Event, OutboxEntry, Sweep, Webhook
from mailbox import delivery, quarantine
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined
from orchestration.models import Attempt, Session, WebProcess
from orchestration.states import Status
from tests.people import owner

#: Hidden characters of every sort that storage takes, and markup that would be an element if anybody let it.
HIDDEN = "\u202e\u200b\u00a0\x1b\r\U000e0041\u2066\ufeff"
MARKUP = '"\'><planted onclick="planted()"><script>planted()</script>{{ planted }}</planted>'
ESCAPES = ("\\u{202e}", "\\u{200b}", "\\u{a0}", "\\u{1b}", "\\u{d}", "\\u{e0041}", "\\u{2066}", "\\u{feff}")


@dataclass
class Planted:
    """One project's rows, by model."""

    project: Project
    word: str
    rows: dict[type[Model], Any] = field(default_factory=dict)
    tail: str = HIDDEN + MARKUP

    def text(self, name: str, limit: int = 0) -> str:
        """Hostile text that names its field and its project."""
        whole = f"{self.word}-{name}{self.tail}"
        return whole[:limit] if limit else whole


def plant(slug: str, word: str, tail: str = HIDDEN + MARKUP) -> Planted:
    """One of everything."""
    project = Project.objects.create(slug=slug, name=f"{word}-project")
    planted = Planted(project, word, tail=tail)
    session = _session(planted, None)
    planted.rows = {
        Project: project,
        Session: session,
        Approval: _approval(planted, session),
        Event: _event(planted, session),
        AuditEntry: AuditEntry.objects.filter(project=project).latest("pk"),
        OutboxEntry: _outbox(planted),
        Webhook: _webhook(planted),
        Delivery: _delivery(planted),
        Grant: _grant(planted, session),
        Plan: _plan(planted, session),
        Rule: _rule(planted),
        Reviewer: _reviewer(planted),
        Message: _message(planted, session),
        Quarantined: quarantine.put(
            project.pk, planted.text("raw").encode(), "rest", planted.text("reason"), address=f"{word}-box"
        ),
        Credential: credentials.mint(kind="api", project=project, scopes=["feed:read"], name=f"{word}-key")[0],
        Sweep: Sweep.objects.update_or_create(name="waits_sweep", defaults={"error": planted.text("sweep")})[0],
    }
    _session(planted, session)
    for model, row in planted.rows.items():
        _history(planted, model, row)
    return planted


def _rule(planted: Planted) -> Rule:
    return Rule.objects.create(
        project=planted.project,
        name=f"{planted.word}-rule",
        match={"tools": [f"{planted.word}{MARKUP}"]},
        outcome="ask",
        message=f"{planted.word}{MARKUP}",
        changed_at=timezone.now(),
        changed_by={"kind": "key", "id": "1", "name": planted.text("changer", 100), "user": None, "user_id": None},
    )


def _reviewer(planted: Planted) -> Reviewer:
    return Reviewer.objects.create(
        project=planted.project,
        name=f"{planted.word}{MARKUP}"[:64],
        kind="webhook",
        url=f"https://{planted.word}{MARKUP}/",
        secret="sealed",
        changed_at=timezone.now(),
        changed_by={"kind": "key", "id": "1", "name": planted.text("changer", 100), "user": None, "user_id": None},
    )


def _webhook(planted: Planted) -> Webhook:
    return Webhook.objects.create(
        project=planted.project,
        # An address with odd brackets is none, and nobody can store it.
        url=f"https://{planted.word}-host{HIDDEN}{MARKUP}/",
        name=planted.text("hook", 200),
        types=[planted.text("glob", 100)],
        secret="sealed",
        created_by=planted.text("maker", 300),
    )


def _delivery(planted: Planted) -> Delivery:
    return Delivery.objects.create(
        project=planted.project,
        lane=planted.text("kind", 100),
        key=planted.word,
        receiver=planted.text("receiver", 300),
        type=planted.text("sent", 200),
        payload=planted.text("letter"),
        last_error=planted.text("refusal"),
    )


def _session(planted: Planted, parent: Session | None) -> Session:
    pk = uuid.uuid4()
    session = Session.objects.create(
        id=pk,
        project=planted.project,
        parent=parent,
        root=parent.root if parent else pk,
        depth=1 if parent else 0,
        role=planted.text("role", 100),
        title=planted.text("title", 300),
        assignment=planted.text("assignment"),
        command=[planted.text("command")],
        metadata={planted.text("key"): planted.text("value")},
        status=Status.RUNNING,
        attempt=1,
        result=planted.text("result"),
        error=planted.text("error"),
        cancel_requested_at=timezone.now(),
        cancel_reason=planted.text("cancel"),
        waiting_for={"children": [planted.text("waits")]},
        last_tool=planted.text("tool", 200),
        created_by=planted.text("by", 300),
        started_at=timezone.now(),
        last_event_at=timezone.now(),
    )
    Attempt.objects.create(
        session=session,
        number=1,
        status=Status.RUNNING,
        running_at=timezone.now(),
        reason=planted.text("ended"),
        host=planted.text("host", 255),
        supervisor_seen_at=timezone.now(),
        stderr_tail=planted.text("stderr"),
        exit_status=3,
        web_process=WebProcess.objects.create(host="web-1", pid=1),
    )
    attempt_clock.open(planted.project.pk, pk, 1)
    return session


def _approval(planted: Planted, session: Session, request: str = "request") -> Approval:
    ask = Ask(
        session=session.pk,
        attempt=1,
        request_id=planted.text(request, 200),
        tool_name=planted.text("shell", 200),
        permission=planted.text("permission", 200),
        resource=planted.text("resource"),
        question=planted.text("question"),
        arguments={planted.text("name"): planted.text("argument"), "command": planted.text("command")},
        tool_call_id=planted.text("call", 200),
    )
    child = Actor(kind="child", id=f"{session.pk}/1", name=planted.text("asker"), session=session.pk, attempt=1)
    return requests.ask(planted.project.pk, ask, actor=child, via="connection")[0]


def _grant(planted: Planted, session: Session) -> Grant:
    # A request of its own: the one that waits goes on waiting.
    approval = _approval(planted, session, "granted")
    answer = decisions.Answer(decision="approve", digest=approval.digest, remember={"scope": "session"})
    by = Actor.of_user(owner(f"{planted.word}-granter"))
    approval = decisions.decide(planted.project.pk, approval.pk, answer, by, "admin")
    grant = Grant.objects.get(pk=approval.remembered)
    grant.role, grant.granted_by = planted.text("role", 100), {**grant.granted_by, "name": planted.text("granter")}
    grant.save()
    return grant


def _plan(planted: Planted, session: Session) -> Plan:
    approval = _approval(planted, session, "planned")
    by = {"kind": "user", "id": "1", "name": planted.text("planner", 100), "user": None, "user_id": None}
    plan = Plan.objects.create(
        id=approval.pk,
        approval=approval,
        project=planted.project,
        session=session.pk,
        ordered=False,
        granted_at=timezone.now(),
        expires_at=timezone.now() + timedelta(hours=1),
        granted_by=by,
    )
    tool = planted.text("step", 200)
    step = {"tool_name": tool, "permission": "run", "glob": "*", "resource": None, "risk": "low", "count": 2}
    step |= {"reversibility": "reversible", "arguments": {"planted": planted.text("step argument")}, "patterns": None}
    PlanStep.objects.create(plan=plan, number=1, tool_name=tool, permission="run", step=step, count=2)
    return plan


def _event(planted: Planted, session: Session) -> Event:
    with unit_of_work.transaction():
        told = {planted.text("key"): planted.text("payload")}
        unit_of_work.child_event(
            planted.project.pk, planted.text("type", 200), told, session=session.pk, attempt=1, seq=1
        )
        unit_of_work.audit(planted.project.pk, planted.text("actor", 300), "plant", planted.text("subject", 300), told)
    return Event.objects.filter(project=planted.project).latest("cursor")


def _outbox(planted: Planted) -> OutboxEntry:
    return OutboxEntry.objects.create(
        project=planted.project,
        kind="webhook",
        key=planted.text("key", 200),
        payload={"told": planted.text("payload")},
        last_error=planted.text("trouble"),
    )


def _message(planted: Planted, session: Session) -> Message:
    message = NewMessage(
        id=f"{planted.word}-message",
        message_kind="task",
        body={"text": planted.text("body")},
        claimed_sender=True,
    )
    with unit_of_work.transaction():
        delivery.deliver(planted.project.pk, session.address, [message])
    # The API refuses such words. A page does not trust that it always did.
    hostile = {"correlation_id": planted.text("correlation", 200), "sender_role": planted.text("sender", 64)}
    Message.objects.filter(project=planted.project).update(**hostile)
    return Message.objects.get(project=planted.project)


def _history(planted: Planted, model: type[Model], row: Any) -> None:
    author = User.objects.get_or_create(username="author")[0]
    LogEntry.objects.create(
        user=author,
        content_type=ContentType.objects.get_for_model(model),
        object_id=str(row.pk),
        object_repr=f"{planted.word}-object",
        action_flag=CHANGE,
        change_message=f"{planted.word}-changed",
    )


def staff(name: str, *projects: Project, permissions: bool = True) -> User:
    """Return a member of the staff for these projects, with every permission or with none."""
    user = User.objects.create_user(name, password=f"{name}-password", is_staff=True)
    group = Group.objects.create(name=f"{name}s")
    user.groups.add(group)
    for project in projects:
        project.groups.add(group)
    if permissions:
        group.permissions.set(Permission.objects.all())
    return user
