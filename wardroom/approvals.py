"""Wait for the answers of many approval requests: by REST, each wait with a deadline, and none of them a guess.

    sink = ApprovalSink(client)
    asked = client.ask_approval("shell", {"command": "make deploy"}, permission="execute", resource="production")
    decision = sink.outcome(asked["id"], 300, on_timeout="deny_locally")
    if decision.approved:
        run(**client.consume_approval(decision))

All waiters for one request share one held call. The row remembers its answer, so an answer before the wait is handed
over too. A deadline, a closed sink and a server that is away give *pending*: neither consent nor refusal.
"""

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from wardroom.calls.requests import LONGEST_WAIT
from wardroom.client import Client, Problem
from wardroom.decision import Decision, Fallback

if TYPE_CHECKING:
    from wardroom.async_client import AsyncClient

OnTimeout = Literal["wait", "deny_locally", "proceed"]
Listener = Callable[[dict[str, Any]], None]

#: The event that says that the rules have changed. It answers no request.
POLICY_CHANGED = "policy_changed"
ON_TIMEOUT = ("wait", "deny_locally", "proceed")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_LOST = (OSError, http.client.HTTPException)


def decision_of(approval: dict[str, Any], fallback: Fallback | None = None) -> Decision:
    """Return the decision of an approval as its JSON tells it."""
    told = approval["decision"] or {}
    runs = approval["status"] == "approved" or fallback == "proceed"
    arguments = (told.get("arguments") or approval["arguments"] or {}) if runs else {}
    return Decision(
        approval["request_id"],
        approval["status"],
        told.get("message"),
        arguments,
        approval["digest"],
        approval["id"],
        fallback,
        told.get("kind"),
        told.get("response"),
    )


def _check(on_timeout: str) -> None:
    """Raise ValueError for an unknown fallback now, not after the whole deadline."""
    if on_timeout not in ON_TIMEOUT:
        raise ValueError(f"on_timeout is {on_timeout!r}; use one of {', '.join(ON_TIMEOUT)}")


def _pending(approval_id: str) -> Decision:
    return Decision("", "pending", approval_id=approval_id)


def _is_passing(problem: Problem) -> bool:
    """Return True for a refusal that another try may not get."""
    return problem.status == 429 or problem.status >= 500


def _unrecorded(approval_id: str, action: Fallback) -> Decision:
    """Return *pending* when the fallback could not be recorded. To proceed without a record is not allowed."""
    return Decision("", "pending", approval_id=approval_id, fallback=None if action == "proceed" else action)


class ApprovalSink:
    """Waits for answers in threads. Close it, or use it in `with`."""

    def __init__(self, client: Client, *, on_policy_changed: Listener | None = None) -> None:
        self._client = client
        self._on_policy_changed = on_policy_changed
        self._changed = threading.Condition()
        self._waits: dict[str, list[Wait]] = {}
        self._hurried: set[str] = set()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiter_count(self) -> int:
        """The number of waits that have no result yet."""
        with self._changed:
            return sum(not wait.is_over for waits in self._waits.values() for wait in waits)

    def wait_for_approval(self, approval_id: str, deadline: float) -> "Wait":
        """Wait for the answer at most `deadline` seconds from now. The wait is registered before this returns.

        `.result()` of the wait is the decision, or *pending*. It raises Problem when this client may not see the
        request.
        """
        wait = Wait(self._changed, approval_id, time.monotonic() + deadline)
        with self._changed:
            if self._is_closed:
                wait.settle(_pending(approval_id))
                return wait
            waits = self._waits.get(approval_id)
            if waits is None:
                # It waits for our lock. A thread that cannot start leaves no waits behind that nobody polls for.
                threading.Thread(target=self._poll, args=(approval_id,), name="wardroom-approval", daemon=True).start()
                self._waits[approval_id] = [wait]
            else:
                waits.append(wait)
                self._changed.notify_all()
        return wait

    def outcome(self, approval_id: str, deadline: float, *, on_timeout: OnTimeout = "wait") -> Decision:
        """Wait, and apply the caller's fallback when there is no answer in time.

        `wait` waits on. `deny_locally` and `proceed` are recorded on the approval as what this caller did; the decision
        stays *pending*, with the `fallback`. An answer that came meanwhile is the result instead. Without a record
        there is no `proceed`: then `fallback` is None.
        """
        _check(on_timeout)
        while True:
            decision = self.wait_for_approval(approval_id, deadline).result()
            if decision.state != "pending" or self._is_closed:
                return decision
            if on_timeout != "wait":
                break
            deadline = LONGEST_WAIT  # A round of no time would spin.
        try:
            return decision_of(self._client.fall_back(approval_id, on_timeout), on_timeout)
        except Problem as problem:
            if problem.type == "already-decided":
                return decision_of(self._client.approval(approval_id))
            if not _is_passing(problem):
                raise
        except _LOST:
            pass
        return _unrecorded(approval_id, on_timeout)

    def deliver(self, event: dict[str, Any]) -> None:
        """Take an event of the feed. A change of a request that somebody waits for is looked up at once.

        An event that nobody waits for is dropped. A change of the rules goes to `on_policy_changed` and wakes nobody.
        """
        if event["type"] == POLICY_CHANGED:
            if self._on_policy_changed is not None:
                self._on_policy_changed(event)
            return
        with self._changed:
            approval_id = (event.get("payload") or {}).get("approval_id", "")
            if approval_id in self._waits:
                self._hurried.add(approval_id)
                self._changed.notify_all()

    def follow(self) -> None:
        """Deliver the feed of the project, from now on, until the key is no longer valid. It needs `feed:read`."""
        for event in self._client.feed():
            self.deliver(event)

    def close(self) -> None:
        """End every wait as *pending*. Later waits are *pending* at once."""
        with self._changed:
            self._is_closed = True
            for approval_id in list(self._waits):
                self._settle(approval_id, _pending(approval_id))

    def _poll(self, approval_id: str) -> None:
        """Hold one call after the other until there is an answer, or nobody waits. Runs in a thread of its own."""
        pause = _FIRST_PAUSE
        while (left := self._left(approval_id)) > 0:
            try:
                approval = self._client.wait_approval(approval_id, min(left, LONGEST_WAIT))
            except Problem as problem:
                if not _is_passing(problem):
                    return self._settle(approval_id, problem)
            except _LOST:
                pass
            except Exception as error:  # For example an answer that is no JSON. The next wait starts a new thread.
                return self._settle(approval_id, error)
            else:
                if approval["status"] != "pending":
                    return self._settle(approval_id, decision_of(approval))
                pause = _FIRST_PAUSE
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or approval_id in self._hurried, min(pause, left))
                self._hurried.discard(approval_id)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _left(self, approval_id: str) -> float:
        """Return the seconds until the last deadline. At 0 nobody waits, and the request is forgotten."""
        with self._changed:
            open = [wait for wait in self._waits.get(approval_id, ()) if not wait.is_over]
            # A deadline may pass between these two lines: forget the request exactly when its thread ends.
            left = max((wait.until for wait in open), default=0.0) - time.monotonic()
            if left > 0:
                self._waits[approval_id] = open
                return left
            self._waits.pop(approval_id, None)
            self._hurried.discard(approval_id)
            return 0

    def _settle(self, approval_id: str, result: "Decision | Exception") -> None:
        with self._changed:
            for wait in self._waits.pop(approval_id, ()):
                wait.settle(result)
            self._hurried.discard(approval_id)


class Wait:
    """One wait for one answer, until its deadline."""

    def __init__(self, changed: threading.Condition, approval_id: str, until: float) -> None:
        self._changed = changed
        self._approval_id = approval_id
        self._result: Decision | Exception | None = None
        #: The deadline, in seconds of the monotonic clock.
        self.until = until

    @property
    def is_over(self) -> bool:
        """True when there is a result, or the deadline has passed."""
        return self._result is not None or time.monotonic() >= self.until

    def settle(self, result: "Decision | Exception") -> None:
        """Set the result. The first one counts, and none counts after the deadline. The caller holds the lock."""
        if not self.is_over:
            self._result = result
            self._changed.notify_all()

    def result(self) -> Decision:
        """Return the decision, or *pending* after the deadline. Raises Problem when the request is not visible."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over, max(0.0, self.until - time.monotonic()))
            if isinstance(self._result, Exception):
                raise self._result
            return _pending(self._approval_id) if self._result is None else self._result


class AsyncApprovalSink:
    """Waits for answers with asyncio. Use it on one event loop, and close it or use it in `async with`."""

    def __init__(self, client: "AsyncClient", *, on_policy_changed: Listener | None = None) -> None:
        self._client = client
        self._on_policy_changed = on_policy_changed
        self._waiters: dict[str, dict[asyncio.Future[Decision], asyncio.TimerHandle]] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._hurry: dict[str, asyncio.Event] = {}
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def waiter_count(self) -> int:
        """The number of waits that have no result yet."""
        return sum(map(len, self._waiters.values()))

    def wait_for_approval(self, approval_id: str, deadline: float) -> asyncio.Future[Decision]:
        """Wait for the answer at most `deadline` seconds from now. The wait is registered before this returns.

        The result is the decision, or *pending*. It raises Problem when this client may not see the request. Cancel the
        future to leave early.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Decision] = loop.create_future()
        if self._is_closed:
            future.set_result(_pending(approval_id))
            return future
        timer = loop.call_later(deadline, _settle, future, _pending(approval_id))
        self._waiters.setdefault(approval_id, {})[future] = timer
        future.add_done_callback(lambda done: self._forget(approval_id, done))
        if approval_id not in self._polls:
            self._hurry[approval_id] = asyncio.Event()
            self._polls[approval_id] = loop.create_task(self._poll(approval_id))
        return future

    async def outcome(self, approval_id: str, deadline: float, *, on_timeout: OnTimeout = "wait") -> Decision:
        """Wait, and apply the caller's fallback when there is no answer in time. See `ApprovalSink.outcome`."""
        _check(on_timeout)
        while True:
            decision = await self.wait_for_approval(approval_id, deadline)
            if decision.state != "pending" or self._is_closed:
                return decision
            if on_timeout != "wait":
                break
            deadline = LONGEST_WAIT  # A round of no time would spin.
        try:
            return decision_of(await self._client.fall_back(approval_id, on_timeout), on_timeout)
        except Problem as problem:
            if problem.type == "already-decided":
                return decision_of(await self._client.approval(approval_id))
            if not _is_passing(problem):
                raise
        except _LOST:
            pass
        return _unrecorded(approval_id, on_timeout)

    def deliver(self, event: dict[str, Any]) -> None:
        """Take an event of the feed. A change of a request that somebody waits for is looked up at once.

        An event that nobody waits for is dropped. A change of the rules goes to `on_policy_changed` and wakes nobody.
        """
        if event["type"] == POLICY_CHANGED:
            if self._on_policy_changed is not None:
                self._on_policy_changed(event)
        elif hurry := self._hurry.get((event.get("payload") or {}).get("approval_id", "")):
            hurry.set()

    async def follow(self) -> None:
        """Deliver the feed of the project, from now on, until the key is no longer valid. It needs `feed:read`."""
        async for event in self._client.feed():
            self.deliver(event)

    async def close(self) -> None:
        """End every wait as *pending*. Later waits are *pending* at once."""
        self._is_closed = True
        for approval_id, waiters in list(self._waiters.items()):
            for future in list(waiters):
                _settle(future, _pending(approval_id))
        polls = list(self._polls.values())
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    def _forget(self, approval_id: str, future: asyncio.Future[Decision]) -> None:
        waiters = self._waiters.get(approval_id, {})
        if (timer := waiters.pop(future, None)) is not None:
            timer.cancel()
        if not waiters and approval_id in self._polls:
            self._polls.pop(approval_id).cancel()
            del self._waiters[approval_id], self._hurry[approval_id]

    async def _poll(self, approval_id: str) -> None:
        """Hold one call after the other until there is an answer."""
        pause = _FIRST_PAUSE
        while True:
            try:
                approval = await self._client.wait_approval(approval_id)
            except Problem as problem:
                if not _is_passing(problem):
                    return self._resolve(approval_id, problem)
            except _LOST:
                pass
            except Exception as error:  # For example an answer that is no JSON. The next wait starts a new task.
                return self._resolve(approval_id, error)
            else:
                if approval["status"] != "pending":
                    return self._resolve(approval_id, decision_of(approval))
                pause = _FIRST_PAUSE
                continue
            hurry = self._hurry[approval_id]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await hurry.wait()
            hurry.clear()
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _resolve(self, approval_id: str, result: "Decision | Exception") -> None:
        # Forget the poll first: a wait that begins while these are resolved needs a poll of its own.
        waiters = self._waiters.pop(approval_id, {})
        self._polls.pop(approval_id, None)
        self._hurry.pop(approval_id, None)
        for future, timer in waiters.items():
            timer.cancel()
            _settle(future, result)


def _settle(future: asyncio.Future[Decision], result: "Decision | Exception") -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
