"""A child that does real work without a model: it runs a runbook, and requests approval for each step.

    python -m wardroom.children.runbook [--on-deny skip|stop] [--expires-in SECONDS]

The assignment is the runbook: one shell command a line. A line that begins with `#` is a heading. A `!` before a
command means that it needs no approval; it counts only when the run says `may_run_unasked`. Every other command is
requested as the tool `shell` with the arguments `{command, cwd, env}` (`env` is a list of names), and runs exactly as
approved, at most once.

The messages `skip` and `stop` act at the next step; other texts are recorded. A query is answered at once with the
current step. An ask with the mode `steer` acts by its text, and is answered at the next step.

A command that fails does not end the run: its exit code is in the table.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from wardroom import processes
from wardroom.child import AlreadyConsumed, Cancelled, Child, NotConsumed, Refused
from wardroom.children import shell
from wardroom.children.steps import (
    MAX_COMMAND_BYTES,
    Outcome,
    Result,
    Step,
    cut,
    parse,
    past,
    record_id,
    refusal,
    table,
)

TOOL = "shell"
DISABLED = f"the tool {TOOL} is disabled for this session"
STEPS_PER_EVENT = 50
HEARTBEAT_SECS = 60.0
SHOWN_TEXT = 8192
_REFUSALS: dict[str, Outcome] = {"denied": "denied", "expired": "expired"}

#: The reason for requesting a step that is marked as needing no approval.
NOT_UNASKED = " Its line begins with !, but the starter of this session may not run a step without approval."
#: The error of an approved edit that is incomplete.
NOT_WHOLE = "the approved arguments must hold command, cwd and env: an edit replaces all of them"


class Runbook:
    """One run through the steps."""

    def __init__(self, child: Child, steps: Sequence[Step], *, stop_on_deny: bool, expires_in: int | None) -> None:
        self.child = child
        self.steps = steps
        self.cwd = os.getcwd()
        self.results: list[Result] = []
        self._stop_on_deny = stop_on_deny
        self._expires_in = expires_in
        self._past = past(child.run.messages, child.run.attempt, steps)
        self._stop = ""
        self._skip = False
        self._groups: set[int] = set()

    async def run(self) -> None:
        """Run every step in turn, then report the table."""
        try:
            for step in self.steps:
                now = f"now at step {step.number} of {len(self.steps)}: {cut(step.command, 200)}"
                self.child.state = "\n".join([table(self.results), now] if self.results else [now])
                self.results.append(await self._settle(step))
        except (Cancelled, asyncio.CancelledError):
            rest = self.steps[len(self.results) :]
            self.results += [Result(step, "cancelled") for step in rest]
            raise
        finally:
            for pgid in self._groups:
                processes.kill_group(pgid, signal.SIGKILL)
        await self.tell()
        await self.child.complete(table(self.results))

    async def tell(self) -> None:
        """Emit the table as events, for programs."""
        for first in range(0, len(self.results), STEPS_PER_EVENT):
            part = self.results[first : first + STEPS_PER_EVENT]
            await self.child.emit("runbook_result", steps=[result.as_fields() for result in part])

    async def _settle(self, step: Step) -> Result:
        """Return the result of one step: known from an earlier process, skipped, refused, or run."""
        if step.number in self._past:
            # It never runs again in this attempt.
            result = self._past[step.number]
            if result.outcome == "unknown":
                asked = step.gated or not self.child.run.may_run_unasked
                id = self.child.request_id(f"step-{step.number}") if asked else None
                detail = "the runbook was restarted while this step ran"
                await self.child.emit("unknown_outcome", approval=id, step=step.number, detail=detail)
            return result
        await self._read_messages()
        if self.child.cancelled.is_set():
            raise Cancelled(self.child.cancelled.reason)
        if TOOL in self.child.run.disabled_tools:
            return Result(step, "denied", message=DISABLED)
        if self._stop or self._skip:
            outcome: Outcome = "stopped" if self._stop else "skipped"
            self._skip = False
            return Result(step, outcome, message=self._stop or None)
        await self.child.emit("round_started", round=step.number, heading=cut(step.heading), command=cut(step.command))
        await self.child.emit("runner_progress", done=step.number - 1, total=len(self.steps))
        gated = step.gated or not self.child.run.may_run_unasked
        result = await (self._ask_and_run(step) if gated else self._run(step, self._arguments(step)))
        await self._record(step, result)
        return result

    async def _read_messages(self) -> None:
        """Obey each new message. Answer an ask that arrived as a turn: its effect, and the current step."""
        for message in await self.child.checkpoint():
            word = message.text.strip().lower()
            if word == "stop":
                self._stop = "stopped by a message"
            elif word == "skip":
                self._skip = True
            else:
                await self.child.emit("message_noted", id=message.id, text=cut(message.text, SHOWN_TEXT))
            if message.message_kind == "ask":
                does = {"stop": "stopping", "skip": "skipping the next step"}.get(word, "noted, and going on")
                try:
                    await self.child.reply(message, f"{does}\n{self.child.state}")
                except Refused as refused:  # The asker gets no answer, and no step depends on it.
                    why = cut(f"could not be answered: {refused}", SHOWN_TEXT)
                    await self.child.emit("message_noted", id=message.id, text=why)

    def _arguments(self, step: Step) -> dict[str, Any]:
        return {"command": step.command, "cwd": self.cwd, "env": shell.names()}

    async def _ask_and_run(self, step: Step) -> Result:
        about = step.heading[:1000].rstrip(" .:!?") or "Runbook"
        why = "" if step.gated else NOT_UNASKED
        try:
            decision = await self.child.approve(
                TOOL,
                self._arguments(step),
                permission="shell",
                resource=self.cwd,
                question=f"{about}: run step {step.number} of {len(self.steps)}?{why}",
                expires_in=self._expires_in,
                id=self.child.request_id(f"step-{step.number}"),
            )
            if not decision.approved:
                if decision.state == "denied" and self._stop_on_deny:
                    self._stop = f"step {step.number} was denied"
                return Result(step, _REFUSALS.get(decision.state, "cancelled"), message=decision.message)
            arguments = await self.child.consume(decision)
        except AlreadyConsumed:  # An event was emitted: an earlier process took the step, and may have run it.
            return Result(step, "unknown", message="another process took this step")
        except (NotConsumed, Refused) as refused:
            return Result(step, "cancelled", message=str(refused))
        return await self._run(step, arguments)

    async def _run(self, step: Step, arguments: dict[str, Any]) -> Result:
        """Run exactly these arguments, after recording the start."""
        command, cwd, env = arguments.get("command"), arguments.get("cwd"), arguments.get("env")
        if not isinstance(command, str) or not isinstance(cwd, str) or not isinstance(env, list):
            return Result(step, "failed", message=NOT_WHOLE)
        if len(command.encode()) > MAX_COMMAND_BYTES:
            return Result(step, "failed", message=f"the approved command has more than {MAX_COMMAND_BYTES} bytes")
        await self._record(step, None)
        await self.child.emit("tool_started", tool_name="shell", step=step.number, command=cut(command))

        async def output(text: str) -> None:
            await self.child.emit("tool_output", tool_name="shell", step=step.number, text=text)

        left_out = 0
        try:
            ran = await self._until_cancelled(shell.run(command, cwd, [str(n) for n in env], output, self._groups.add))
        except (OSError, ValueError) as error:  # A ValueError means a NUL in the command.
            result = Result(step, "failed", shell.CANNOT_START, 0.0, command, str(error))
        else:
            outcome: Outcome = "done" if ran.exit_code == 0 else "failed"
            result = Result(step, outcome, ran.exit_code, ran.seconds, command)
            left_out = ran.left_out
            if not processes.kill_group(ran.pgid, 0):  # The group is empty, and its number may be reused.
                self._groups.discard(ran.pgid)
        await self.child.emit(
            "tool_finished",
            tool_name="shell",
            ok=result.outcome == "done",
            step=step.number,
            exit_code=result.exit_code,
            seconds=result.seconds,
            bytes_left_out=left_out,
        )
        return result

    async def _until_cancelled(self, work: Coroutine[Any, Any, shell.Ran]) -> shell.Ran:
        """Return the work's result. When the child is asked to stop, end the work and raise Cancelled."""
        running = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.child.cancelled)
        try:
            while not (running.done() or stop.done()):
                done, _ = await asyncio.wait(
                    {running, stop}, timeout=HEARTBEAT_SECS, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:  # A command may be silent for long, and still works.
                    await self.child.emit("sub_agent_heartbeat")
            if running.done():
                return running.result()
            raise Cancelled(self.child.cancelled.reason)
        finally:
            for task in (running, stop):
                task.cancel()
            await asyncio.gather(running, stop, return_exceptions=True)

    async def _record(self, step: Step, result: Result | None) -> None:
        """Record the start or the end of a step in the session's history. It is stored when this returns."""
        said = "started" if result is None else result.outcome
        code = f" (exit {result.exit_code})" if result and result.exit_code is not None else ""
        content = f"step {step.number} {said}{code}: {(result and result.command) or step.command}"
        await self.child.transcript(
            {"role": "tool", "content": cut(content, SHOWN_TEXT), "id": record_id(self.child.run.attempt, result, step)}
        )


async def work(child: Child, *, stop_on_deny: bool, expires_in: int | None) -> None:
    """Run a runbook child from its run to its end."""
    steps = parse(child.run.assignment)
    if not steps:
        await child.fail("runbook is empty")
        return
    if why := refusal(child.run.assignment):
        await child.fail(f"runbook refused: {why}")
        return

    @child.on_query
    async def progress(question: str, state: str | None) -> str:
        """Answer any question with the steps so far and the current one."""
        return state or "at no step yet"

    runbook = Runbook(child, steps, stop_on_deny=stop_on_deny, expires_in=expires_in)
    try:
        await runbook.run()
    except (Cancelled, asyncio.CancelledError):
        if child.cancelled.is_set():
            with contextlib.suppress(Exception):
                await runbook.tell()
                await child.stop(table(runbook.results))
        raise


async def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options and work. SIGTERM ends the running step first, then this process."""
    parser = argparse.ArgumentParser(prog="python -m wardroom.children.runbook")
    parser.add_argument("--on-deny", choices=("skip", "stop"), default="skip")
    parser.add_argument("--expires-in", type=int, metavar="SECONDS")
    options = parser.parse_args(arguments)
    me = asyncio.current_task()
    if me is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    async with Child.from_env(client="wardroom-runbook") as child:
        await work(child, stop_on_deny=options.on_deny == "stop", expires_in=options.expires_in)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(128 + signal.SIGTERM)
