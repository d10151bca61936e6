"""`manage.py spawn`: the same order from a shell, its refusals, its live display and its exit status."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ledger import unit_of_work
from orchestration import tail
from orchestration.adminsite import session_page
from orchestration.models import Session
from orchestration.sessions import lifecycle
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def spawn(*words: str) -> str:
    out = io.StringIO()
    call_command("spawn", *words, stdout=out)
    return out.getvalue()


def test_it_stores_the_order_and_prints_the_id() -> None:
    shown = spawn("echo hi", "--role", "runbook", "--title", "hi", "--metadata", "a=b")
    session = Session.objects.get()
    assert shown.strip() == f"session: {session.pk}"
    assert (session.assignment, session.role, session.title, session.metadata) == (
        "echo hi",
        "runbook",
        "hi",
        {"a": "b"},
    )
    assert session.created_by == "system manage.py spawn"


@pytest.mark.parametrize(
    ("option", "most"), [("--title", 300), ("--model", 200), ("--role", 64)], ids=["title", "model", "role"]
)
def test_no_text_is_longer_than_by_rest(option: str, most: int) -> None:
    with pytest.raises(CommandError, match=rf"^{option[2:]}: at most {most} characters$"):
        spawn("x", "--runner", "external", option, "x" * (most + 1))
    assert not Session.objects.exists()
    spawn("x", "--runner", "external", option, "x" * most)


def test_no_assignment_is_longer_than_by_rest(tmp_path: Any) -> None:
    (tmp_path / "long").write_text("x" * (256 * 1024 + 1))
    with pytest.raises(CommandError, match=r"^assignment: at most 262144 characters$"):
        spawn("--file", str(tmp_path / "long"), "--runner", "external")


def test_an_external_one_prints_token_and_socket_once() -> None:
    shown = spawn("x", "--runner", "external")
    assert "child token: wr_child_" in shown
    assert f"/ws/children/{Session.objects.get().pk}" in shown


def test_only_what_runs_the_runbook_is_checked_as_one() -> None:
    spawn("it's prose", "--role", "runbook", "--command", "true")
    with pytest.raises(CommandError, match="line 1 has a ' without its end"):
        spawn("it's prose", "--command", "python -m wardroom.children.runbook --on-deny stop")


def test_an_assignment_can_come_from_a_file(tmp_path: Any) -> None:
    (tmp_path / "book").write_text("echo from a file\n")
    spawn("--file", str(tmp_path / "book"), "--role", "runbook")
    assert Session.objects.get().assignment == "echo from a file\n"


@pytest.mark.parametrize("sign", ["\r", "\u2028", "\x85", "\x0c"])
def test_a_file_is_taken_as_it_is_and_its_lines_end_at_line_feeds_only(tmp_path: Any, sign: str) -> None:
    book = f"# a{sign}!touch x\r\ntrue\n"
    (tmp_path / "book").write_bytes(b"\xef\xbb\xbf" + book.encode())
    spawn("--file", str(tmp_path / "book"), "--role", "runbook")
    session = Session.objects.get()
    assert session.assignment == book
    assert "touch x" in session_page.label(Session(assignment=book, role="", title=""), 60)


@pytest.mark.parametrize("content", [b"echo \0", b"echo \xff"], ids=["NUL", "not UTF-8"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Any, content: bytes) -> None:
    (tmp_path / "book").write_bytes(content)
    with pytest.raises(CommandError, match=r"NUL|cannot be read"):
        spawn("--file", str(tmp_path / "book"), "--role", "runbook")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["x", "--role", "wizard"], "role: the role 'wizard' is not known on this server; known roles are: runbook"),
        (["x", "--command", "no-such-program"], "command: 'no-such-program' is not a program"),
        (["#", "--role", "runbook"], "the runbook is empty"),
        (["ls\ncat <<EOF\nEOF", "--role", "runbook"], "assignment: line 2 begins a here-document"),
        (["true " + "x" * 131_067, "--role", "runbook"], "assignment: line 1 has 131072 bytes"),
        (["x", "--command", "echo 'a"], "No closing quotation"),
        (["x", "--command", "true " + "x" * 131_072], "command: an argument has at most 131071 bytes"),
        (["x", "--command", "true " + "x " * 110_000], "command: all arguments together"),
        (["x\udcff", "--command", "true"], "assignment is not UTF-8"),
        (["x", "--role", "runbook", "--project", "none"], "There is no project 'none'."),
        (["x", "--role", "runbook", "--metadata", "odd"], "write KEY=VALUE"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_stores_nothing(words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        spawn(*words)
    assert not Session.objects.exists()


def lines(session: Session, *, live: bool = False, then: Any = None) -> str:
    out = io.StringIO()
    tail.follow(session.pk, tail.Screen(out, live=live), pause=lambda _: then and then())
    return out.getvalue()


def test_following_shows_every_event_and_ends_with_the_session() -> None:
    session = stages.running()
    shown = lines(session, then=lambda: lifecycle.finish(session.pk, 1, Status.ERROR, error="it broke"))
    words = [line.split()[1:] for line in shown.splitlines()]
    assert [word[0] for word in words] == [
        "session_created",
        "session_starting",
        "session_running",
        "session_error",
        "sub_agent_completed",
    ]
    assert words[3] == ["session_error", "it", "broke"]
    assert "\x1b" not in shown


def test_a_terminal_gets_a_status_line_that_says_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    session = stages.running()
    shown = lines(session, live=True, then=lambda: lifecycle.finish(session.pk, 1, Status.COMPLETED))
    assert "running, attempt 1" in shown
    assert "\x1b[?25h" in shown, "the cursor is shown again"
    assert shown.endswith("\x1b[2K"), "the status line is erased"


def test_a_status_wider_than_the_terminal_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    screen = tail.Screen(out, live=True)
    screen.status("字" * 30)
    screen.close()
    # Two of the 40 cells are the spinner's.
    assert "字" * 18 + " …\n" in out.getvalue()
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_a_terminal_that_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(name, "dumb")
    out = io.StringIO()
    tail.Screen(out, live=True).line("it broke", "bad")
    assert out.getvalue() == "it broke\n"


def test_a_program_reads_tabs_and_brackets_as_they_are() -> None:
    out = io.StringIO()
    tail.Screen(out, live=False).line("[red]a\tb[/red] :smile:", "bad")
    assert out.getvalue() == "[red]a\tb[/red] :smile:\n"


def test_text_that_looks_like_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    tail.Screen(out, live=True).line("[red]a[/red] :smile:")
    assert out.getvalue() == "[red]a[/red] :smile:\n"


def test_what_an_agent_writes_cannot_move_the_cursor() -> None:
    session = stages.running()
    with unit_of_work.transaction():
        text = "\x1b[2Jhello\r\u202e"
        unit_of_work.child_event(
            session.project_id, "note", {"type": "note", "text": text}, session=session.pk, attempt=1, seq=1
        )
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    shown = lines(session)
    assert r"\u{1b}[2Jhello\u{d}\u{202e}" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("status", "code"), [(Status.COMPLETED, 0), (Status.ERROR, 1), (Status.TIMEOUT, 3), (Status.CANCELLED, 4)]
)
def test_the_exit_status_is_the_outcome(status: Status, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    session = stages.ended(status)
    monkeypatch.setattr(tail, "follow", lambda pk, screen: session)
    with pytest.raises(SystemExit) as end:
        spawn("echo", "--role", "runbook", "--follow")
    assert end.value.code == code
