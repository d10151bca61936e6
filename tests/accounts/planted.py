"""One of everything that a REST call can name, and whether a refused call left it as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts import projects
from accounts.actors import Actor
from approvals import decisions
from approvals import requests as approvals_asking
from approvals.canonical_action import Ask
from approvals.models import Approval, Grant, Plan, Reviewer, Rule
from approvals.review import reviewers
from approvals.review.bodies import ReviewerBody
from approvals.rules import editing
from approvals.rules.bodies import RuleBody, RuleMatch
from ledger.models import Delivery, Webhook
from ledger.webhooks import receivers, trial
from mailbox import delivery, quarantine, questions
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined
from orchestration.models import Session
from orchestration.sessions import cancel, spawn
from orchestration.sessions import questions as session_asking
from orchestration.sessions.spawn import SpawnOrder
from tests.people import owner

SELF = Actor.system("tests")


@dataclass(frozen=True)
class Targets:
    """The ids that stand in paths and bodies for `{name}`."""

    ids: dict[str, str]

    def named(self, text: str) -> str:
        for name, id in self.ids.items():
            text = text.replace(f"{{{name}}}", id)
        return text

    def filled(self, body: dict[str, Any]) -> bytes:
        return self.named(json.dumps(body)).encode()

    def untouched(self, deliveries: int = 1) -> bool:
        """Nothing was cancelled, started, told, drained, decided or settled."""
        session, over = (Session.objects.get(pk=self.ids[name]) for name in ("session", "over"))
        return (
            (session.cancel_requested_at, session.attempt, over.attempt) == (None, 1, 1)
            and not Message.objects.filter(address__name=session.address).exclude(message_kind="ask").exists()
            and not Message.objects.filter(address__name="box", waiting__state="claimed").exists()
            and Approval.objects.get(pk=self.ids["approval"]).status == "pending"
            and Plan.objects.get(pk=self.ids["plan"]).ended_at is None
            and Grant.objects.get(pk=self.ids["grant"]).ended_at is None
            and Rule.objects.get(pk=self.ids["rule"]).version == 1
            and Reviewer.objects.filter(pk=self.ids["reviewer"], at_once=4, previous_secret=None).exists()
            and Quarantined.objects.get(pk=self.ids["quarantined"]).state == "waiting"
            and Webhook.objects.filter(pk=self.ids["webhook"], previous_secret=None).exists()
            and Delivery.objects.filter(webhook__pk=self.ids["webhook"]).count() == deliveries
        )


def plant() -> Targets:
    """A session that waits for its child, one that is over, an ask, an approval, a row in quarantine, and a webhook."""
    project = projects.default()
    session = _external()
    over = _external()
    cancel.cancel(project, over, "enough", SELF)
    question = questions.question("why?", "query", id=questions.new_id())
    asked = session_asking.ask(project, session, question, SELF)
    boxed = questions.question("why?", "query", id=questions.new_id())
    delivery.deliver(project.pk, "box", [boxed, NewMessage(message_kind="task", body={"text": "x"})], internal=True)
    wanted = Ask(request_id=str(session), tool_name="t", permission="p", resource="r")
    approval, _ = approvals_asking.ask(project.pk, wanted, actor=SELF, via="rest")
    remembered = Ask(
        session=session, attempt=1, request_id="remembered", tool_name="t", permission="p", resource="r",
    )  # fmt: skip
    granted, _ = approvals_asking.ask(project.pk, remembered, actor=SELF, via="rest")
    answer = decisions.Answer(decision="approve", digest=granted.digest, remember={"scope": "session"})
    granted = decisions.decide(project.pk, granted.pk, answer, Actor.of_user(owner()), "admin")
    body = RuleBody(name=f"rule {session}", outcome="deny", match=RuleMatch(tools=["nothing"]))
    rule = editing.create(project.pk, body, SELF)
    reviewer = {"name": f"reviewer {session}", "url": "https://hooks.example/"}
    reviewing, _ = reviewers.create(project.pk, ReviewerBody(**reviewer), SELF)
    steps: Any = {"steps": [{"tool_name": "t", "permission": "p", "resource": "r"}]}
    wanted = Ask(
        session=session, attempt=1, request_id="plan", tool_name="t", permission="p", resource="r", plan=steps,
    )  # fmt: skip
    planned, _ = approvals_asking.ask(project.pk, wanted, actor=SELF, via="rest")
    answer = decisions.Answer(decision="approve", digest=planned.digest)
    decisions.decide(project.pk, planned.pk, answer, Actor.of_user(owner()), "admin")
    broken = quarantine.put(project.pk, b"{", "rest", "broken", address="box")
    Webhook.objects.all().delete()
    webhook, _ = receivers.create(project.pk, SELF, url="https://hooks.example/", types=["*"])
    sent = trial.send(webhook)
    ids = {
        "session": session, "over": over, "ask": asked.id, "boxed": boxed.id, "rule": rule.pk, "reviewer": reviewing.pk,
        "approval": approval.pk, "quarantined": broken.pk, "grant": granted.remembered, "plan": planned.pk,
        "webhook": webhook.pk, "delivery": sent.pk,
    }  # fmt: skip
    return Targets({name: str(id) for name, id in ids.items()})


def _external() -> UUID:
    return spawn.spawn(projects.default(), SpawnOrder(assignment="x", runner="external"), SELF).session.pk
