"""A runbook's text, its table, its memory and its shell, without a server."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import wait_until_async
from wardroom import processes
from wardroom.children import shell
from wardroom.children.steps import (
    MAX_COMMAND_BYTES,
    MAX_STEPS,
    SHOWN_TABLE,
    Result,
    Step,
    parse,
    past,
    record_id,
    refusal,
    table,
)

TEXT = """# Prepare
echo one

  ! echo two
#
!
## Then
\tgit push  # for real
"""


def test_a_runbook_is_commands_headings_and_what_needs_no_approval() -> None:
    assert parse(TEXT) == [
        Step(1, "echo one", True, "Prepare"),
        Step(2, "echo two", False, "Prepare"),
        Step(3, "git push  # for real", True, "Then"),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# headings\n", " !\n"])
def test_a_runbook_without_commands_is_empty(text: str) -> None:
    assert parse(text) == []


NO_LINE_END = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"]


@pytest.mark.parametrize("sign", NO_LINE_END)
def test_a_line_ends_at_a_line_feed_only(sign: str) -> None:
    [step] = parse(f"# heading{sign}!touch x\n{sign}!echo{sign}")
    assert step == Step(1, f"{sign}!echo{sign}", True, f"heading{sign}!touch x")


def test_a_carriage_return_before_the_line_feed_belongs_to_the_end_of_the_line() -> None:
    assert [(step.command, step.gated) for step in parse("# a\r\n!b\r\n c \r\nd\r")] == [
        ("b", False),
        ("c", True),
        ("d\r", True),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "cat <<EOF",
        "cat <<-'EOF' | sh",
        "(cat <<X",
        "echo one \\",
        "echo 'it",
        'echo "it',
        "echo `date",
        "echo $(date",
        "echo ${x",
        "(cd /",
        "echo $((1 + 2)",
        "if true; then echo yes",
        "for i in 1 2",
        "while true; do sleep 1",
        "case $x in",
        "then echo no",
        "done",
        "}",
    ],
)
def test_a_command_of_several_lines_is_refused_with_its_line(line: str) -> None:
    assert (why := refusal(f"# heading\n\necho fine\n!{line}\n"))
    assert why.startswith("line 4 ")
    assert subprocess.run(["sh", "-n", "-c", f"{line}\n"], capture_output=True).returncode or any(
        sign in line for sign in ("<<", "\\")
    )


@pytest.mark.parametrize(
    "line",
    [
        "echo one; echo two # it's fine",
        "echo '<<' \"<<\" \\<\\< $((1 << 2))",
        'echo "$(echo "inner" | tr a-z \'A-Z\')" "it\'s" ${x:-"a"} "${x:-it\'s}"',
        'echo `echo "a"` "`echo "b"`"',
        "echo \\\\",
        "echo \\' \\\" a#b ${#x}",
        "if true; then echo yes; fi",
        "for i in 1 2; do echo $i; done",
        "case x in x) echo ')';; (y) ;; esac",
        "f() { echo hi; }; f",
        "(cd / && ls)",
        "echo $((1 + (2 * 3)))",
        "echo $( (echo a); echo b)",
        "echo }",
        "touch done",
    ],
)
def test_a_command_on_one_line_is_taken(line: str) -> None:
    assert refusal(line) is None
    assert subprocess.run(["sh", "-n", "-c", line], capture_output=True).returncode == 0


def test_a_command_longer_than_the_kernel_takes_is_refused() -> None:
    longest = "#" * (MAX_COMMAND_BYTES - 5)
    assert refusal(f"true {longest}") is None
    assert subprocess.run(["sh", "-c", f"true {longest}"]).returncode == 0
    assert "line 1 has 131072 bytes" in (refusal(f"true {longest}#") or "")
    with pytest.raises(OSError, match="too long"):
        subprocess.run(["sh", "-c", f"true {longest}#"])
    assert refusal("é" * MAX_COMMAND_BYTES)


def test_a_runbook_has_a_bounded_number_of_steps() -> None:
    assert refusal(":\n" * MAX_STEPS) is None
    assert "1001 steps" in (refusal(":\n" * (MAX_STEPS + 1)) or "")


def test_a_table_of_the_widest_letters_fits_too() -> None:
    steps = parse("\n".join("\U0010ffff" * 300 for _ in range(MAX_STEPS)))
    text = table([Result(step, "done", 0, 0.1, "\x01" * 300, "\u2028" * 300) for step in steps])
    assert len(text.encode()) <= SHOWN_TABLE
    assert "more steps" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_table_shows_what_became_of_each_step() -> None:
    steps = parse("a\nb\nc\nd")
    text = table(
        [
            Result(steps[0], "done", 0, 1.26, "a"),
            Result(steps[1], "denied", message="not\nhere"),
            Result(steps[2], "failed", 3, 0.0, "c --careful"),
            Result(steps[3], "expired"),
        ]
    )
    assert text.splitlines() == [
        "step  outcome  exit  secs  command",
        "1     done     0     1.3   a",
        "2     denied   -     -     b  (not\\u{a}here)",
        "3     failed   3     0.0   c --careful  (edited; asked for: c)",
        "4     expired  -     -     d",
    ]


def test_a_very_long_table_is_cut_in_the_middle() -> None:
    steps = parse("\n".join("x" * 300 for _ in range(2000)))
    text = table([Result(step, "done", 0, 0.1) for step in steps])
    assert len(text.encode()) <= SHOWN_TABLE
    assert "more steps" in text
    assert text.splitlines()[-1].startswith("2000 ")


def test_history_tells_a_restarted_runbook_what_it_did() -> None:
    steps = parse("a\nb\nc\nd")
    history = [
        {"role": "user", "content": "hello"},
        {"id": record_id(1, Result(steps[3], "done", 0), steps[3])},
        {"id": record_id(2, None, steps[0])},
        {"id": record_id(2, Result(steps[0], "failed", -9), steps[0])},
        {"id": record_id(2, None, steps[1])},
        {"role": "user", "content": "skip it", "id": record_id(2, Result(steps[2], "done", 0), steps[2])},
        {"id": "runbook:2:99:done:0"},
        {"id": "runbook:2:x"},
    ]
    assert past(history, 2, steps) == {
        1: Result(steps[0], "failed", -9),
        2: Result(steps[1], "unknown"),
    }


class Heard:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pgids: list[int] = []

    async def output(self, text: str) -> None:
        self.texts.append(text)

    async def run(self, command: str, cwd: Path, env: tuple[str, ...] = ("PATH",)) -> shell.Ran:
        return await shell.run(command, str(cwd), env, self.output, self.pgids.append)


async def test_a_command_runs_in_its_folder_with_the_named_environment_only(tmp_path: Path) -> None:
    heard = Heard()
    ran = await heard.run("pwd; env | grep -v '^PWD=\\|^_=' | sort; exit 3", tmp_path, ("PATH", "HOME", "NO_SUCH_NAME"))
    assert ran.exit_code == 3
    lines = "".join(heard.texts).splitlines()
    assert lines[0] == str(tmp_path)
    assert {line.partition("=")[0] for line in lines[1:]} <= {"PATH", "HOME", "SHLVL", "OLDPWD"}


def test_no_name_that_speaks_to_wardroom_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROOM_TOKEN", "secret")
    assert "WARDROOM_TOKEN" not in shell.names()
    assert "PATH" in shell.names()


async def test_a_command_starts_with_default_signals_and_an_empty_mask(tmp_path: Path) -> None:
    heard = Heard()
    numbers = (signal.SIGQUIT, signal.SIGUSR1)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        await heard.run("grep -E 'Sig(Blk|Ign)' /proc/self/status; sleep 60 & kill -USR1 $!; wait $!", tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    values = [line.split(":")[1] for line in "".join(heard.texts).splitlines() if line.startswith("Sig")]
    # Whoever started the tests may have ignored 32 and 33, which belong to the C library: no program can set them.
    assert [int(value, 16) & ~(1 << 31 | 1 << 32) for value in values] == [0, 0]


async def test_output_is_text_and_bounded(tmp_path: Path) -> None:
    heard = Heard()
    ran = await heard.run("printf 'a\\0b\\377'; head -c 200000 /dev/zero | tr '\\0' x", tmp_path)
    text = "".join(heard.texts)
    assert text.startswith("a\ufffdb\ufffdx")
    assert len(text) == shell.OUTPUT_BYTES
    assert ran.left_out == 200_004 - shell.OUTPUT_BYTES


async def test_output_comes_while_the_command_runs(tmp_path: Path) -> None:
    heard = Heard()
    running = asyncio.create_task(heard.run("echo early; while ! [ -e go ]; do sleep 0.02; done; echo late", tmp_path))
    await wait_until_async(lambda: heard.texts == ["early\n"])
    (tmp_path / "go").touch()
    await running
    assert heard.texts == ["early\n", "late\n"]


async def test_what_a_command_leaves_behind_does_not_hold_it_up(tmp_path: Path) -> None:
    heard = Heard()
    begun = time.monotonic()
    ran = await heard.run("sleep 60 & echo done", tmp_path)
    assert time.monotonic() - begun < 10
    assert heard.texts == ["done\n"]
    os.killpg(ran.pgid, signal.SIGKILL)


@pytest.mark.parametrize("settled", [False, True], ids=["at once", "while it runs"])
async def test_a_cancelled_command_is_ended_with_its_whole_group(tmp_path: Path, settled: bool) -> None:
    heard = Heard()
    running = asyncio.create_task(heard.run("trap '' TERM; touch on; sleep 60 & sleep 60; sleep 60", tmp_path))
    await wait_until_async(lambda: heard.pgids and (not settled or (tmp_path / "on").exists()))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    members = [
        pid
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if processes._stat(pid)[2:3] == [str(heard.pgids[0])]
    ]
    await wait_until_async(lambda: all(processes._stat(pid)[:1] in ([], ["Z"]) for pid in members))


async def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Heard().run("true", tmp_path / "no")


def test_the_runbook_says_who_is_missing_when_it_is_no_child() -> None:
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-m", "wardroom.children.runbook"], env=env, capture_output=True, timeout=20)
    assert done.returncode == 1
    assert b"NotAChild: set WARDROOM_URL" in done.stderr
