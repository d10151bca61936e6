"""`manage.py apply_rules`: a diff, one transaction, and errors with line, rule and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Project, User
from approvals.models import Rule
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked
from tests.approvals.rules.conftest import Ruled

pytestmark = pytest.mark.django_db
FILE = """
rules:
  - name: no shells
    match: {tools: [shell], when: 'arguments.command.startsWith("rm ")'}
    outcome: deny
    message: Use the editor.
  - name: deploys
    match:
      tools: ["deploy*"]
    outcome: ask
    approvers: {users: [alice, bob], quorum: 2}
    deadline_secs: 3600
    escalate:
      - {after_secs: 1800, users: [bob]}
"""


@pytest.fixture
def apply(tmp_path: Path, capsys: pytest.CaptureFixture[str], alice: User, bob: User) -> Any:
    def run(text: str, *options: str) -> str:
        path = tmp_path / "rules.yaml"
        path.write_text(text)
        call_command("apply_rules", str(path), *options)
        return capsys.readouterr().out

    return run


def test_a_dry_run_prints_the_diff_and_changes_nothing(apply: Any) -> None:
    said = apply(FILE, "--dry-run")
    assert "+ no shells\n" in said and '    outcome: "deny"\n' in said and "2 added, 0 changed" in said
    assert "nothing was changed" in said
    assert not Rule.objects.exists()


def test_a_file_is_applied_and_again_changes_nothing(apply: Any, asked: Asked) -> None:
    apply(FILE)
    assert asked(arguments={"command": "rm x"}).message == "Use the editor."
    assert asked(tool_name="deploy_it").quorum == 2
    events = Event.objects.filter(type="policy_changed").count()
    assert "0 added, 0 changed, 0 deleted, 2 unchanged" in apply(FILE)
    assert Event.objects.filter(type="policy_changed").count() == events == 2
    assert AuditEntry.objects.filter(action="rule.created", actor="system:manage.py apply_rules").count() == 2


def test_a_change_is_shown_field_by_field(apply: Any) -> None:
    apply(FILE)
    said = apply(FILE.replace("outcome: deny", "outcome: ask"))
    assert '~ no shells (version 1)\n    outcome: "deny" -> "ask"\n' in said
    assert Rule.objects.get(name="no shells").version == 2


def test_other_rules_stay_unless_they_are_pruned(apply: Any, ruled: Ruled) -> None:
    ruled(name="by hand")
    assert "0 deleted" in apply(FILE)
    assert "- by hand" in apply(FILE, "--prune", "--dry-run")
    assert Rule.objects.count() == 3
    apply(FILE, "--prune")
    assert sorted(Rule.objects.values_list("name", flat=True)) == ["deploys", "no shells"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (FILE.replace("outcome: ask", "outcome: maybe"), "line 10, rule 2 (deploys): outcome: must be one of"),
        (FILE.replace("quorum: 2", "quorum: 9"), "line 11, rule 2 (deploys): approvers.quorum: is larger than"),
        (
            FILE.replace("users: [bob]", "users: [nobody]"),
            "line 14, rule 2 (deploys): escalate[0].users[0]: nobody by this name",
        ),
        (FILE.replace("after_secs: 1800", "after_secs: 3599"), "rule 2 (deploys): escalate[0].after_secs: must lie"),
        (FILE.replace("arguments.command", "args.command"), "line 4, rule 1 (no shells): match.when: names args"),
        (FILE.replace("name: deploys", "name: no shells"), "rule 2 (no shells): name: is that of the rule in line 3"),
        (FILE.replace("message:", "mesage:"), "line 6, rule 1 (no shells): mesage: is no field"),
        (FILE.replace("    outcome: deny\n", ""), "line 3, rule 1 (no shells): outcome: must be one of"),
        (FILE.replace("outcome: deny", "outcome: deny\n    outcome: allow"), "outcome is there twice"),
        ("rules: {}", "a list of rules"),
        ("- name: x", "a mapping with one member"),
        ("rules: [", "expected the node content"),
        ("rules:\n  - 2026-01-01", "line 2, rule 1: must be a JSON object"),
        ("rules:\n  - !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_an_error_names_its_place_and_nothing_is_changed(apply: Any, text: str, error: str) -> None:
    with pytest.raises(CommandError) as refused:
        apply(text)
    assert error in str(refused.value)
    assert not Rule.objects.exists()


def test_an_unknown_project_or_file_is_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no project nowhere"):
        call_command("apply_rules", str(tmp_path), "--project", "nowhere")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("apply_rules", str(tmp_path / "missing.yaml"))
