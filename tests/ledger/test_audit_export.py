"""The audit chain by REST: pages, and files that are verified without the database."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accounts import projects
from accounts.models import Credential, Project
from core.db.clock import Now
from ledger import unit_of_work
from ledger.audit import export
from ledger.models import AuditEntry, Head
from tests.mailbox.faces import Caller, serving
from wardroom.verify import chain

pytestmark = pytest.mark.django_db(transaction=True)
AUDIT = "/api/v1/audit"
FORMULA = "=HYPERLINK(0)"


@pytest.fixture
def project() -> Project:
    return projects.default()


def act(project: Project, times: int, actor: str = "me", **detail: Any) -> None:
    with unit_of_work.transaction():
        for n in range(times):
            unit_of_work.audit(project.pk, actor, "act", "it", {"n": n, **detail})


def rows(project: Project) -> int:
    return AuditEntry.objects.filter(project=project).count()


@pytest.fixture
def reader(project: Project, broker: object) -> Any:
    with serving() as face:
        yield Caller(face, project.pk, scopes=["audit:read"])


def test_pages_follow_one_another(reader: Caller, project: Project) -> None:
    act(project, 5)
    whole = rows(project)
    seen: list[int] = []
    after = 0
    while after is not None:
        page = reader.get(AUDIT, after=after, limit=2).json()
        assert len(page["results"]) <= 2
        seen += [row["number"] for row in page["results"]]
        after = page["next"]
    assert seen == list(range(1, whole + 1))
    assert reader.get(AUDIT, after="").json() == reader.get(AUDIT).json()
    last = reader.get(AUDIT, after=whole - 1).json()["results"][0]
    assert (last["action"], last["detail"]) == ("act", {"n": 4})
    assert last["hash"] == AuditEntry.objects.get(project=project, number=whole).hash


@pytest.mark.parametrize(
    ("query", "field"),
    [({"after": "x"}, "after"), ({"limit": 0}, "limit"), ({"limit": 501}, "limit"), ({"format": "xml"}, "format")],
)
def test_a_wrong_parameter_is_named(reader: Caller, query: Any, field: str) -> None:
    answer = reader.get(AUDIT, **query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_file_takes_no_page_parameters(reader: Caller) -> None:
    answer = reader.get(AUDIT, format="csv", after=3)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "after"


def test_no_row_of_another_project_is_read(reader: Caller, project: Project) -> None:
    other = Project.objects.create(slug="other")
    act(other, 3, secret="theirs")
    act(project, 1)
    for query in ({}, {"format": "jsonl"}, {"format": "csv"}):
        assert "theirs" not in reader.get(AUDIT, **query).text


def exported(reader: Caller) -> list[bytes]:
    answer = reader.get(AUDIT, format="jsonl")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    return list(answer.content.splitlines())


def test_an_export_holds_the_whole_chain_and_verifies(
    reader: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 3)
    act(project, 8, text="a\u2028b \U0001f600 \u202e")
    head = Head.objects.get(pk=project.pk)
    lines = exported(reader)
    assert len(lines) == rows(project) + 2
    assert chain.check(lines) == (head.audit_number, head.audit_hash)
    assert chain.check(lines, head=json.loads(lines[4])["hash"])[0] == head.audit_number


def test_a_project_without_rows_has_an_empty_chain() -> None:
    head = export.head(Project.objects.create(slug="empty").pk)
    assert (head.number, head.hash) == (0, chain.START)
    lines = [
        json.dumps({"project": str(head.project)}).encode(),
        b'{"head": {"number": 0, "hash": "%s"}}' % head.hash.encode(),
    ]
    assert chain.check(lines) == (0, chain.START)


def harmed(lines: list[bytes], harm: str) -> list[bytes]:
    row = json.loads(lines[3])
    match harm:
        case "altered":
            return [*lines[:3], json.dumps(row | {"actor": "somebody else"}).encode(), *lines[4:]]
        case "removed":
            return [*lines[:3], *lines[4:]]
        case "exchanged":
            return [*lines[:3], lines[4], lines[3], *lines[5:]]
        case "cut":
            return lines[:-1]
        case "cut before the head":
            return [*lines[:-2], lines[-1]]
        case "another project":
            return [b'{"project": "00000000-0000-0000-0000-000000000000"}', *lines[1:]]
        case "rows after the head":
            return [*lines, lines[-2]]
    return [*lines[:3], b'{"number": NaN}', *lines[4:]]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("altered", "row 3 was altered"),
        ("removed", "row 3 is missing; found 4"),
        ("exchanged", "row 3 is missing; found 4"),
        ("cut", "without the head: it is not whole"),
        ("cut before the head", "rows are missing at the end"),
        ("another project", "row 1 was altered"),
        ("rows after the head", "rows follow the head"),
        ("broken", "line 4 is no strict JSON"),
    ],
)
def test_the_offline_check_names_the_first_wrong_row(reader: Caller, project: Project, harm: str, why: str) -> None:
    act(project, 6)
    with pytest.raises(chain.NotVerified, match=why):
        chain.check(harmed(exported(reader), harm))


def test_a_chain_that_was_written_again_lacks_the_noted_hash(reader: Caller, project: Project) -> None:
    act(project, 6)
    with pytest.raises(chain.NotVerified, match="another chain"):
        chain.check(exported(reader), head="f" * 64)


def test_the_command_says_what_it_found(reader: Caller, project: Project, tmp_path: Path) -> None:
    act(project, 6)
    lines = exported(reader)
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(b"\n".join(lines) + b"\n")
    bad.write_bytes(b"\n".join(harmed(lines, "altered")) + b"\n")

    def run(file: Path) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", "wardroom.verify", "audit", file], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    status, text = run(good)
    assert status == 0 and text.startswith(f"verified: {rows(project)} rows")
    assert run(bad) == (1, "NOT VERIFIED: row 3 was altered\n")
    assert run(tmp_path / "none")[0] == 2


def test_no_cell_of_the_csv_is_a_formula(reader: Caller, project: Project) -> None:
    act(project, 1, actor=FORMULA)
    act(project, 1, actor="  +1")
    answer = reader.get(AUDIT, format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["actor"] for row in read][-2:] == [f"'{FORMULA}", "'  +1"]
    assert len(read) == rows(project)
    assert json.loads(read[-1]["detail"]) == {"n": 0}


@pytest.mark.parametrize("harm", ["key", "row"])
def test_an_export_that_cannot_go_on_is_cut_and_has_no_head(
    reader: Caller, project: Project, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """A key that ends, or a hole at the end of the chain, must not look like a whole file."""
    act(project, 8)
    read = export.after

    def meanwhile(*wanted: Any, **more: Any) -> Any:
        found = read(*wanted, **more)
        if harm == "key":
            Credential.objects.filter(pk=reader.credential.pk).update(ended_at=Now())
        else:
            AuditEntry.objects.filter(project=project, number__gt=found[-1].number).delete()
        return found

    monkeypatch.setattr(export, "AT_ONCE", 3)
    monkeypatch.setattr(export, "after", meanwhile)
    with pytest.raises(Exception, match=r"peer closed|incomplete|terminated"):
        reader.get(AUDIT, format="jsonl")
