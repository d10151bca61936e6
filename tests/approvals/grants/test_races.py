"""Uses are counted among processes, and a revocation ends them all."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals.grants import endings
from approvals.models import Approval
from ledger.audit import chain
from tests.approvals.conftest import Asked
from tests.approvals.grants.conftest import HARMLESS, Remembered
from tests.approvals.test_races_of_processes import Racer
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

USES, ROUNDS = 5, 2


@pytest.fixture
def askers(project: Project, session: UUID) -> Iterator[list[Racer]]:
    """Four processes with eight askers each."""
    with ExitStack() as running:
        made = []
        for _ in range(4):
            command = [sys.executable, "-m", "tests.approvals.grants.askers", str(project.pk), str(session)]
            pipe = subprocess.PIPE
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
            running.callback(process.kill)
            made.append(Racer(process, 0))
        yield made


def begin(askers: list[Racer], tool: str) -> None:
    for asker in askers:
        asker.say(tool)
    assert [asker.hear() for asker in askers] == ["read"] * len(askers)
    for asker in askers:
        asker.say("go")


def outcomes(askers: list[Racer]) -> Counter[str]:
    return Counter(outcome for asker in askers for outcome in asker.hear().split())


def test_of_32_askers_in_four_processes_as_many_pass_as_there_are_uses(
    remembered: Remembered, askers: list[Racer], project: Project
) -> None:
    for number in range(ROUNDS):
        grant = remembered({"tool_name": f"tool-{number}"}, uses=USES)
        begin(askers, grant.tool_name)
        assert outcomes(askers) == {"approved": USES, "pending": 32 - USES}
        grant.refresh_from_db()
        assert (grant.used, grant.end_reason) == (USES, "used_up")
        assert Approval.objects.filter(rule=grant.rule).count() == USES
    assert chain.verify(project.pk) is None


def test_after_a_revocation_that_raced_with_its_uses_nothing_passes(
    remembered: Remembered, askers: list[Racer], asked: Asked, alice: User
) -> None:
    grant = remembered()
    begin(askers, grant.tool_name)
    revoked = endings.revoke(grant.project_id, grant.id, Actor.of_user(alice))
    assert asked(**HARMLESS).status == "pending"
    passed = outcomes(askers)["approved"]
    grant.refresh_from_db()
    assert passed == grant.used == revoked.used
    assert Approval.objects.filter(rule=grant.rule).count() == passed
    assert grant.end_reason == "revoked"
