"""The bounds of a call of a reviewer: deadline, places, size of the answer, and the answers that count for nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project
from approvals import askers
from approvals.askers import SessionFacts
from approvals.models import Approval, Review, Reviewer
from approvals.review import calling, opening, reviewers, round
from approvals.review.bodies import ReviewerBody
from approvals.review.calling import NoReply
from core.concurrency import loop_thread
from core.db.clock import database_now
from core.web import problems, request_body
from ledger.deliveries import lanes
from ledger.webhooks.exchange import MOST_BODY
from tests.approvals.review.conftest import Reviewing, add, look, said
from tests.approvals.review.test_reviewers import package  # noqa: F401 - a fixture
from tests.approvals.review.test_taken_over import unframed
from tests.approvals.rules.conftest import EDITOR, Ruled
from tests.ledger.webhooks.receiver import Receiver
from tests.ledger.webhooks.test_sending import drip, flood

pytestmark = pytest.mark.django_db
KEY = b"k" * 32


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round ends as soon as nothing is left."""
    monkeypatch.setattr(round, "IDLE_SECS", 0.0)


def post(url: str, secs: float) -> str:
    async def posted() -> str:
        # A call without its bound must fail this test, and not hang it.
        async with asyncio.timeout(5):
            return (await calling.webhook(url, [KEY], "0" * 32, "{}", secs)).text

    return asyncio.run(posted())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said("ALLOW", 201), "it answered 201"),
        (302, "it answered 302"),
        (204, "it answered 204"),
        (said(b"ALLOW\xff"), "its answer is not UTF-8"),
        (said("ALLOW\n" + "x" * MOST_BODY), "its answer is larger than"),
        (flood, "its answer is larger than"),
        (drip, "no answer within"),
        (unframed, "its answer does not say where it ends"),
    ],
)
def test_an_answer_of_a_webhook_that_is_none(receiver: Receiver, answer: Any, why: str) -> None:
    receiver.answers = [answer]
    with pytest.raises(NoReply, match=why):
        post(receiver.url, 0.5)


def test_an_answer_of_the_largest_size_is_one(receiver: Receiver) -> None:
    receiver.answers = [said("x" * MOST_BODY)]
    assert len(post(receiver.url, 5)) == MOST_BODY


def test_a_connection_that_never_opens_ends_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        with pytest.raises(NoReply, match="no answer within"):
            post(f"https://127.0.0.1:{silent.getsockname()[1]}/", 0.3)


#: A reviewer that writes into the pipe of the verdict by itself.
ROGUE = """
import os, stat

def careful(request):
    pipes = [fd for fd in range(3, 20) if is_pipe(fd)]
    while True:
        for fd in pipes:
            os.write(fd, b"ALLOW\\n")
        if request == "die":
            os._exit(5)

def is_pipe(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
"""


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("request_", "why", "ends_with"),
    [
        ('"die"', "it ended with status 5", 5),
        ('"flood"', "its answer is larger than", -signal.SIGKILL),
        ('{"request": {"arguments": {"command": "hang"}}}', "no answer within", -signal.SIGKILL),
    ],
)
def test_a_program_that_is_none_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str, why: str, ends_with: int
) -> None:
    if "hang" not in request_:
        (tmp_path / "acme_reviewer.py").write_text(ROGUE)
    started: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def start(*args: Any, **more: Any) -> asyncio.subprocess.Process:
        started.append(await real(*args, **more))
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)

    async def run() -> int:
        async with asyncio.timeout(30):
            with pytest.raises(NoReply, match=why):
                await calling.program("acme", request_, 0.5 if "hang" in request_ else 20.0)
            return await started[0].wait()

    assert asyncio.run(run()) == ends_with


def test_the_calls_of_all_projects_together_are_bounded(
    reviewing: Reviewing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round, "AT_ONCE", 1)
    approvals = [reviewing(), reviewing()]
    theirs, _ = add(Project.objects.create(slug="other"), "theirs", url=receiver.url)
    Review.objects.filter(approval=approvals[1]).update(reviewer=theirs)
    lanes.ensure([round.LANE])
    lease = lanes.take(round.LANE)
    assert lease is not None
    with loop_thread.running("reviews", threads=1) as loop:
        one = round._Round(loop, lease)
        one.begin()
        assert len(one.jobs) == 1


def test_the_former_secret_signs_until_its_end(project: Project, reviewing: Reviewing, receiver: Receiver) -> None:
    reviewing()
    _, new = reviewers.rotate(project.pk, Reviewer.objects.get().pk, EDITOR)
    receiver.answers = [said("ASK"), said("ASK")]
    round.run()
    Reviewer.objects.update(previous_until=database_now())
    reviewing()
    round.run()
    assert len(receiver.verified(new)) == 2
    assert [len(headers["webhook-signature"].split()) for headers, _ in receiver.got] == [2, 1]


def test_a_request_has_few_reviewers_and_none_allows_for_those_that_were_left_out(
    project: Project, reviewing: Reviewing, receiver: Receiver, ruled: Ruled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST", 1)
    add(project, "second", url=receiver.url)
    ruled(name="twice", outcome="review", review={"reviewer": "second", "may_allow": True})
    approval = reviewing(review={"may_allow": True})
    receiver.answers = [said("ALLOW")]
    assert round.run() == 1
    assert [(each["reviewer"], each["may_allow"]) for each in look_all(approval)] == [("careful", False)]
    assert Approval.objects.get(pk=approval.pk).status == "pending"


def look_all(approval: Approval) -> list[dict[str, Any]]:
    return list(Approval.objects.get(pk=approval.pk).reviews or ())


def test_of_two_rules_with_one_reviewer_the_earlier_deadline_counts(reviewing: Reviewing, ruled: Ruled) -> None:
    reviewing(review={"deadline_secs": 90})
    Review.objects.all().delete()
    ruled(name="soon", outcome="review", review={"reviewer": "careful", "deadline_secs": 9})
    approval = reviewing()
    until = Review.objects.get().deadline_at
    assert (until - approval.requested_at).total_seconds() == 9


def test_a_rule_that_denies_by_what_changed_in_its_session_beats_an_allow(
    reviewing: Reviewing, receiver: Receiver, ruled: Ruled, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"frozen": False}
    monkeypatch.setattr(askers, "_facts_of", lambda session, grants: SessionFacts(metadata=lambda: known))
    ruled(name="frozen", outcome="deny", match={"when": "session.metadata.frozen"})
    approval = reviewing(review={"may_allow": True})
    known["frozen"] = True
    receiver.answers = [said("ALLOW")]
    round.run()
    assert (Approval.objects.get(pk=approval.pk).status, look(approval)["state"]) == ("pending", "allow")


def test_an_allow_never_answers_what_is_assigned(reviewing: Reviewing, receiver: Receiver) -> None:
    approval = reviewing(review={"may_allow": True})
    Approval.objects.filter(pk=approval.pk).update(assigned_to={"kind": "user", "name": "bob"})
    receiver.answers = [said("ALLOW")]
    round.run()
    assert (Approval.objects.get(pk=approval.pk).status, look(approval)["state"]) == ("pending", "allow")


def test_a_project_has_a_bounded_number_of_reviewers_and_each_keeps_its_kind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewers, "MOST", 1)
    monkeypatch.setattr(reviewers, "installed", lambda: ["acme"])
    row, _ = add(project, "one", url="http://127.0.0.1:9/")
    for refused, status in ((lambda: add(project, "two", url="http://127.0.0.1:9/"), 429), (turned(project, row), 422)):
        with pytest.raises(problems.Problem) as refusal:
            refused()
        assert refusal.value.status == status


def turned(project: Project, row: Reviewer) -> Any:
    """Return a change of a webhook into a program."""
    body = request_body.convert({"name": "one", "entry_point": "acme"}, ReviewerBody)
    return lambda: reviewers.change(project.pk, row.pk, body, EDITOR)
