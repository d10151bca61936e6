"""Runners: classes that do the work of sessions inside a host process of Wardroom (`manage.py runners`).

    class Acme:
        def should_handle(self, session):
            return session.metadata.get("engine") == "acme"

        async def execute(self, job, events, cancel):
            await events.emit("round_started", round=1)
            return f"done: {job.assignment}"

A package names the class at the entry point `wardroom.runners`. The name of the entry point is the name of the runner.
The class is built once for each process, without arguments. See docs/runners.md.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from wardroom.child import Child, Decision, Message

__all__ = ["GROUP", "CancelToken", "Cause", "Events", "Job", "NewSession", "Runner", "Suspend"]

#: The entry point group in which a package names its runners.
GROUP = "wardroom.runners"

#: Why a job must stop: a cancel, a verdict of the watchdog, an attempt that is over or out of reach, a host that stops.
Cause = Literal["cancelled", "watchdog", "lost", "stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that is about to be stored, for `should_handle`."""

    project: str
    parent: str | None = None
    role: str = ""
    title: str = ""
    assignment: str = ""
    model: str | None = None
    provider: str | None = None
    reasoning_effort: str | None = None
    disabled_tools: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt of one session: the work.

    `model` is `{provider, model, provider_type}`, or None for the runtime's own. `history` has the stored items, oldest
    first; `history_url` has the rest when they are many. `resume` says why a suspended session goes on.
    """

    session: str
    parent: str | None
    root: str
    depth: int
    attempt: int
    assignment: str
    role: str | None
    model: Mapping[str, str | None] | None
    reasoning_effort: str | None
    disabled_tools: tuple[str, ...]
    metadata: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    history_url: str | None
    resume: Mapping[str, Any] | None
    #: A folder of this session on the host. All its attempts on this host share it.
    workspace: Path


class CancelToken:
    """Becomes set when the job must stop: `if cancel.is_set()`, or `await cancel`.

    The job then has the grace of a cancel to return. After it, its task is cancelled.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.cause: Cause | None = None
        self.reason = ""

    def is_set(self) -> bool:
        """Return True when the job should stop now."""
        return self._event.is_set()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._event.wait().__await__()

    def set(self, cause: Cause, reason: str) -> None:
        """Ask the job to stop. The first cause stays."""
        if not self._event.is_set():
            self.cause, self.reason = cause, reason
            self._event.set()


@dataclass(frozen=True, slots=True)
class Suspend:
    """Return it from `execute` to suspend the session until its children have ended."""

    wait_for: Literal["all", "any", "first_error"] = "all"
    children: Sequence[str] | None = None
    timeout_secs: int | None = None


class Events:
    """The job's way to Wardroom. It survives lost connections: what must arrive is sent until it is acknowledged."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def emit(self, type: str, **fields: Any) -> None:
        """Emit an event of the agent. A durable one waits while too many are not committed yet."""
        await self._child.emit(type, **fields)

    async def flushed(self) -> None:
        """Return when every durable event so far is committed."""
        await self._child.flushed()

    async def approve(
        self, tool: str, arguments: dict[str, Any], *, permission: str, resource: str, **options: Any
    ) -> Decision:
        """Request approval to run the tool with exactly these arguments, and wait for the decision.

        See `Child.approve`. Run the tool inside `async with decision.consumed() as arguments`.
        """
        return await self._child.approve(tool, arguments, permission=permission, resource=resource, **options)

    async def messages(self) -> list[Message]:
        """Return the messages that arrived since the last call, oldest first. They count as read."""
        return await self._child.checkpoint()

    async def wait_message(self, timeout: float | None = None) -> bool:
        """Wait until `messages` would return one. Return False after `timeout` seconds."""
        return await self._child.wait_message(timeout)

    def on_query(self, handler: Callable[[str, Any], Awaitable[Any]]) -> None:
        """Answer questions beside the work: `async def handler(question, state)`. See `Child.on_query`."""
        context = contextvars.copy_context()

        async def inside(question: str, state: Any) -> Any:
            # In the context of the job: a host knows by it whose code runs.
            async def called() -> Any:
                return await handler(question, state)

            return await asyncio.create_task(called(), context=context)

        self._child.on_query(inside)

    def tell_state(self, state: Any) -> None:
        """Set the state of which the handler of `on_query` gets a copy."""
        self._child.state = state

    async def reply(self, message: Message, answer: Any) -> None:
        """Answer an ask."""
        await self._child.reply(message, answer)

    async def send(self, message_kind: str, body: Any, **options: Any) -> str:
        """Put a message into another mailbox. Return its outcome when it is durable."""
        return await self._child.send(message_kind, body, **options)

    async def transcript(self, *items: dict[str, Any]) -> None:
        """Add items `{role, content, id?}` to the session's history."""
        await self._child.transcript(*items)

    async def spawn(self, assignment: str, **fields: Any) -> dict[str, Any]:
        """Spawn a child session of this one. `fields` as in `POST sessions`. Return the new session."""
        from wardroom.client import Client

        identity = self._child.identity
        return await asyncio.to_thread(Client(identity.url, identity.token).spawn, assignment, **fields)


@runtime_checkable
class Runner(Protocol):
    """A runner. Many jobs run on one event loop, so neither method may block it."""

    def should_handle(self, session: NewSession) -> bool:
        """Return True to take a session that names no runner. An exception, and no answer in time, count as no."""

    async def execute(self, job: Job, events: Events, cancel: CancelToken) -> Any:
        """Do the work, and return the result: JSON of at most 128 KiB, or `Suspend`.

        It may run for hours. An exception ends the attempt in error at once, with the exception's text as its reason.
        """
