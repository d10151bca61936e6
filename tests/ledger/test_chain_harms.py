"""A person with the database harms the audit chain: the check names the first wrong row, or a noted hash shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounts import projects
from accounts.models import Project
from ledger import unit_of_work
from ledger.audit import chain, export
from ledger.audit.chain import Entry
from ledger.models import AuditEntry, Head
from wardroom.verify import chain as offline

pytestmark = pytest.mark.django_db
FORGED_AT = "2026-01-01T12:00:00.000000Z"
FORGED = Entry("", "somebody", "approval.decided", "approval:1", {"decision": "approve"})


@pytest.fixture
def project() -> Project:
    """A project with a chain of at least six rows."""
    project = projects.default()
    for number in range(6):
        with unit_of_work.transaction():
            unit_of_work.audit(project.pk, "me", "act", "it", {"n": number})
    assert chain.verify(project.pk) is None
    return project


def row(project: Project, number: int) -> AuditEntry:
    return AuditEntry.objects.get(project=project, number=number)


def renumber(project: Project, **numbers: int) -> None:
    """Give rows other numbers, in the order of the arguments: `r2=3` makes row 2 the third."""
    for name, number in numbers.items():
        AuditEntry.objects.filter(project=project, number=int(name[1:])).update(number=number)


def write(project: Project, number: int, previous: str) -> AuditEntry:
    """Store the forged row with a hash of its own that is right."""
    [columns] = chain.links(previous, number - 1, FORGED_AT, [replace(FORGED, project=str(project.pk))])
    return AuditEntry.objects.create(project=project, **columns)


def inserted(project: Project) -> None:
    last = export.head(project.pk).number
    renumber(project, **{f"r{number}": number + 1 for number in range(last, 2, -1)})
    write(project, 3, row(project, 2).hash)


def appended(project: Project) -> None:
    head = export.head(project.pk)
    write(project, head.number + 1, head.hash)


def reordered(project: Project) -> None:
    renumber(project, r2=1000, r3=2, r1000=3)


def cut_with_its_head(project: Project) -> None:
    last = export.head(project.pk).number
    row(project, last).delete()
    kept = row(project, last - 1)
    Head.objects.filter(pk=project.pk).update(audit_number=kept.number, audit_hash=kept.hash)


def written_again(project: Project) -> None:
    """Alter row 2, and make every hash after it anew."""
    rows = list(AuditEntry.objects.filter(project=project).order_by("number"))
    previous = rows[0].hash
    for each in rows[1:]:
        actor = "somebody else" if each.number == 2 else each.actor
        said = {"actor": actor, "action": each.action, "subject": each.subject}
        [columns] = chain.links(
            previous, each.number - 1, each.at, [Entry(project=str(project.pk), detail=json.loads(each.detail), **said)]
        )
        AuditEntry.objects.filter(pk=each.pk).update(**columns)
        previous = columns["hash"]
    Head.objects.filter(pk=project.pk).update(audit_hash=previous)


def lines(project: Project) -> list[bytes]:
    """Return the chain as it is exported."""
    end = export.head(project.pk)
    first, last = {"project": str(project.pk)}, {"head": {"number": end.number, "hash": end.hash}}
    rows = [export.as_json(each) for each in export.after(project.pk, 0, 1000)]
    return [json.dumps(first).encode(), *rows, json.dumps(last).encode()]


@pytest.mark.parametrize(("harm", "number"), [(inserted, 4), (reordered, 2), (appended, None)])
def test_an_inserted_or_moved_row_is_named(project: Project, harm: Callable[[Project], None], number: Any) -> None:
    end = export.head(project.pk).number
    harm(project)
    broken = chain.verify(project.pk)
    assert broken is not None and broken.number == (number or end + 2)
    with pytest.raises(offline.NotVerified, match=f"row {number} " if number else "at the end"):
        offline.check(lines(project))


@pytest.mark.parametrize("harm", [cut_with_its_head, written_again])
def test_a_hash_that_was_noted_before_shows_a_chain_that_was_cut_or_written_again(
    project: Project, harm: Callable[[Project], None]
) -> None:
    noted = export.head(project.pk).hash
    assert offline.check(lines(project), head=noted)[1] == noted
    harm(project)
    assert chain.verify(project.pk) is None, "the control: by itself the chain holds again"
    assert offline.check(lines(project))
    with pytest.raises(offline.NotVerified, match="another chain, or it was rewritten"):
        offline.check(lines(project), head=noted)
