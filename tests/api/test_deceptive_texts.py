"""Texts that deceive, beside the pages of the admin: programs get them exact, and people read them as escapes."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import projects
from accounts.actors import Actor
from approvals import requests
from approvals.canonical_action import Ask
from approvals.models import Notice
from approvals.notify import texts
from approvals.states import NoticeKind
from core.display.redaction import LineFormatter
from ledger import unit_of_work
from ledger.audit import export, signing
from ledger.deliveries import round
from ledger.models import AuditEntry
from ledger.webhooks import receivers
from tests import before_django
from tests.adminsite.deceiving import CORPUS, RAW, WHOLE
from tests.ledger.webhooks.receiver import receiving
from tests.mailbox.faces import Caller, Django
from wardroom.verify import receipts
from wardroom.verify.__main__ import main as verify

pytestmark = pytest.mark.django_db
#: The same characters in a pattern of Python.
HIDDEN = re.compile(re.sub(r"\\u\{(\w+)\}", lambda code: chr(int(code[1], 16)), RAW))


def asked(tool: str) -> Any:
    ask = Ask(request_id=tool[:100], tool_name=tool, permission="p", resource="r")
    return requests.ask(projects.default().pk, ask, actor=Actor.system("tests"), via="rest")[0]


def test_rest_gives_back_exactly_the_text_that_it_was_given() -> None:
    caller = Caller(Django(), projects.default().pk, scopes=["admin"])
    said = {"tool_name": WHOLE[:200], "permission": WHOLE[-200:], "resource": WHOLE, "question": WHOLE}
    action = {"request_id": "1", "arguments": {WHOLE[:100]: WHOLE, "list": list(CORPUS.values())}, **said}
    made = caller.post("/api/v1/approvals", action)
    assert made.status_code == 202, made.content
    shown = caller.get(f"/api/v1/approvals/{made.json()['id']}").json()
    assert {name: shown[name] for name in action} == action


@pytest.mark.parametrize("bad", ["a\\u0000b", "a\\ud800b", "\\udfff"])
def test_text_that_cannot_be_stored_is_refused_by_its_field(bad: str) -> None:
    caller = Caller(Django(), projects.default().pk, scopes=["admin"])
    for field in ("tool_name", "resource", "question"):
        body = {"request_id": "1", "tool_name": "t", "permission": "p", "resource": "r", field: "BAD"}
        answer = caller.post("/api/v1/approvals", raw=json.dumps(body).replace("BAD", bad).encode())
        assert (answer.status_code, "strict JSON" in answer.content.decode()) == (422, True), (field, answer.content)


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_a_mail_and_a_chat_message_show_a_name_as_one_visible_line(text: str) -> None:
    notice = Notice(approval=asked(text), kind=NoticeKind.REQUESTED, target="user:1")
    for told in (texts.subject([notice], []), texts.body([notice], []), texts.subject([], [notice])):
        assert not HIDDEN.search(told.replace("\n", "")), told
        assert "<planted" not in told and "](" not in told and "http://evil" not in told
    assert "\n" not in texts.subject([notice], [])


def audited() -> list[AuditEntry]:
    project = projects.default()
    with unit_of_work.transaction():
        for text in CORPUS.values():
            unit_of_work.audit(project.pk, text, "act", f"\t{text}", {text: text})
    return list(AuditEntry.objects.filter(project=project).order_by("number"))


def test_the_chain_as_json_lines_is_exact_and_has_one_row_a_line() -> None:
    rows = audited()
    lines = b"".join(export.as_json(row) + b"\n" for row in rows).split(b"\n")
    assert lines.pop() == b""
    told = [json.loads(line) for line in lines]
    assert [each["actor"] for each in told] == [row.actor for row in rows]
    assert [each["detail"] for each in told[-len(CORPUS) :]] == [{text: text} for text in CORPUS.values()]


def test_no_cell_of_the_chain_as_csv_is_a_formula() -> None:
    rows = audited()
    reader = Caller(Django(), projects.default().pk, scopes=["audit:read"])
    headers = {"Authorization": f"Bearer {reader.token}"}
    answer = before_django.call("GET", "/api/v1/audit", b"", headers, {"format": "csv"})
    head, *lines = csv.reader(io.StringIO(answer.text, newline=""))
    assert (tuple(head), len(lines)) == (export.COLUMNS, AuditEntry.objects.count())
    assert lines[len(rows) - 1][2].endswith(rows[-1].actor)
    assert [cell for line in lines for cell in line if cell.lstrip().startswith(("=", "+", "-", "@"))] == []


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_a_line_of_the_log_is_one_line_and_hides_nothing(text: str) -> None:
    record = logging.LogRecord("tests", logging.INFO, __file__, 1, "said %s", (text,), None)
    shown = LineFormatter("%(message)s").format(record)
    assert not HIDDEN.search(shown) and "\n" not in shown, shown


def test_a_command_that_prints_rules_hides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    rule = {"name": WHOLE, "outcome": "deny", "message": WHOLE, "match": {"tools": [CORPUS["ansi"]]}}
    file.write_text(json.dumps({"rules": [rule]}))
    with pytest.raises(CommandError) as refusal:
        call_command("apply_rules", str(file), dry_run=True)
    assert "would not show" in str(refusal.value)
    assert not HIDDEN.search(str(refusal.value).replace("\n", "")), refusal.value


def test_a_file_that_is_verified_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chain.jsonl"
    file.write_text(json.dumps({"project": WHOLE}) + "\n" + json.dumps({"number": WHOLE}) + "\n")
    assert verify(["audit", str(file)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("NOT VERIFIED: row 1 is missing")
    assert not HIDDEN.search(shown.replace("\n", "")), shown


def test_a_receipt_that_is_verified_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{WHOLE}\nverified: signed by https://good.example"
    statement = {"iss": line, "status": WHOLE, "decision": {WHOLE: list(CORPUS.values())}, "rubout": "\x7f"}
    text, _ = signing.sign(statement, receipts.KIND)
    files = {"receipt": text, "keys": json.dumps({"issuer": line, "keys": signing.published()})}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert verify(["receipt", str(tmp_path / "receipt"), "--keys", str(tmp_path / "keys")]) == 0
    shown = capsys.readouterr().out
    assert not HIDDEN.search(shown.replace("\n", "")) and "\r" not in shown, shown
    *told, last = shown.splitlines()
    assert json.loads("\n".join(told)) == statement
    assert last.startswith("verified: signed by \\u202ecod.exe")


def test_a_command_that_verifies_the_chain_prints_no_text_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = audited()
    AuditEntry.objects.filter(pk=rows[-1].pk).update(action=WHOLE[:100], hash=WHOLE[:64])
    with pytest.raises(CommandError):
        call_command("verify_audit")
    shown = capsys.readouterr().out
    assert f"row {rows[-1].number}: it was altered" in shown
    assert not HIDDEN.search(shown.replace("\n", "")), shown


def test_the_body_of_a_webhook_holds_no_text_of_an_agent(settings: Any) -> None:
    settings.WEBHOOKS_PRIVATE = True
    with receiving() as receiver:
        actor = Actor.system("tests")
        _, secret = receivers.create(
            projects.default().pk, actor, url=receiver.url, types=["approval_*"], name=WHOLE[:200]
        )
        approvals = [asked(text) for text in CORPUS.values()]
        round.run()
        bodies = [body for _, body in receiver.got]
        assert [each["data"]["approval"] for each in receiver.verified(secret)] == [str(each.pk) for each in approvals]
    for body in bodies:
        assert re.fullmatch(rb'[\w\-:.,{}" ]+', body), body
