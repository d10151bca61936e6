"""A runner as another company would ship it: its work is named by the first word of the assignment.

Tests copy it into a wheel. It knows nothing of WebSockets, frames or Django.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("ACME_FOLDER", "."))


class Acme:
    def should_handle(self, session: Any) -> bool:
        return session.metadata.get("engine") == "acme"

    async def execute(self, job: Any, events: Any, cancel: Any) -> Any:
        work, _, argument = job.assignment.partition(" ")
        return await getattr(self, work)(job, events, cancel, argument)

    async def describe(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        with open(FOLDER / "ran", "a") as file:
            file.write(f"{job.session}\n")
        await events.emit("round_started", round=1)
        await events.emit("tool_started", tool_name="look")
        await events.emit("tool_finished", tool_name="look", ok=True)
        (job.workspace / "seen").write_text("yes")
        names = ("session", "parent", "root", "depth", "attempt", "role", "model", "disabled_tools", "metadata")
        return {name: getattr(job, name) for name in names} | {"workspace": str(job.workspace)}

    async def hold(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        """Run until told to stop."""
        await events.emit("round_started", round=job.attempt)
        await events.flushed()
        if job.attempt > 1:
            return f"attempt {job.attempt}"
        await cancel
        with open(FOLDER / "stops", "a") as file:
            file.write(f"{job.session} {cancel.cause}: {cancel.reason}\n")
        return "stopped"

    async def ask(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        decision = await events.approve("deploy", {"to": "prod"}, permission="deploy", resource="prod", timeout=60)
        if not decision.approved:
            return decision.state
        async with decision.consumed() as arguments:
            return f"deployed to {arguments['to']}"

    async def asking(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        """Wait for an answer that does not come."""
        try:
            await events.approve("deploy", {"to": "prod"}, permission="deploy", resource="prod")
        except Exception as stop:
            return f"{type(stop).__name__} {cancel.is_set()} {cancel.cause}"

    async def steps(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        """Emit one event for each line of a pipe."""
        pipe = await asyncio.to_thread(open, FOLDER / "pipe")
        step = 0
        while await asyncio.to_thread(pipe.readline):
            step += 1
            await events.emit("round_started", round=step)
        await events.flushed()
        return step

    async def listen(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        async def answer(question: str, state: Any) -> str:
            return f"{question} {state}"

        events.on_query(answer)
        events.tell_state("listening")
        await events.emit("round_started", round=1)
        await events.wait_message(60)
        return [message.text for message in await events.messages()]

    async def delegate(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        return (await events.spawn("describe", runner="acme"))["id"]

    async def fail(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        raise ValueError(f"no such thing: {argument}")

    async def leave(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        sys.exit(3)

    async def leave_aside(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        async def aside() -> None:
            sys.exit(4)

        task = asyncio.create_task(aside())
        await asyncio.gather(task, return_exceptions=True)
        return str(task.done())

    async def huge(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        return "x" * 50_000_000

    async def odd(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        return {"a set": {1, 2}}

    async def deaf(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        """Ignore the token, and every cancel of the task."""
        await events.emit("round_started", round=1)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                (FOLDER / "deaf").touch()

    async def block(self, job: Any, events: Any, cancel: Any, argument: str) -> Any:
        """Block the loop, and catch what can be caught."""
        while True:
            with contextlib.suppress(Exception):
                (FOLDER / "never").read_text()
