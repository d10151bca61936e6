"""The gate before an action: ask, wait, consume, in an order in which nothing runs without an approval.

    gate = Gate(client)
    decision = gate.decision(action)      # the same request id is the same request, also after a restart
    arguments = gate.consume(action, decision, claim)
    with gate.reporting(action, decision, claim):
        run(**arguments)

`decision` raises NotApproved unless a person or a rule approved. `consume` takes the one execution, right before it
runs. Without a report the staff sees an unknown outcome.
"""

import http.client
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from wardroom.approvals import ApprovalSink, decision_of
from wardroom.client import Client, Problem
from wardroom.decision import Decision, NotConsumed
from wardroom.gate.action import Action
from wardroom.gate.refusals import ApprovalUnusable, refusal_of, unusable

if TYPE_CHECKING:
    from wardroom.sync import Child

#: Without a timeout a gate waits for this long at a time, for ever.
ROUND = 3600.0
LOST = (OSError, http.client.HTTPException)
PAUSE = 0.5
Outcome = Literal["ran", "failed", "unknown"]
log = logging.getLogger("wardroom.gate")
Told = Callable[[dict[str, Any]], None]


def conflicting(problem: Problem) -> Exception:
    """Return the exception for a refused ask. The same id with another action: the action changed on its way."""
    if problem.type != "conflict":
        return problem
    text = "The action is not the one that was asked for under this id. It did not run. Ask again."
    return ApprovalUnusable(text, None, "conflict")


def facts_now(action: Action, arguments: dict[str, Any]) -> list[dict[str, str]] | None:
    """Return the preconditions as they are now, as a consumption states them."""
    if action.facts is None:
        return None
    return [{"name": fact["name"], "value_hash": fact["value_hash"]} for fact in action.facts(arguments)]


def checked(decision: Decision) -> Decision:
    """Return an approval. Raise NotApproved for anything else."""
    if (refusal := refusal_of(decision)) is not None:
        raise refusal
    return decision


def outcome_of(error: BaseException) -> Outcome:
    """Return the outcome of a run that raised. After an interruption nobody knows how far it came."""
    return "failed" if isinstance(error, Exception) else "unknown"


def described(error: BaseException) -> str:
    """Return an error as the staff reads it."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text[:1000].encode(errors="replace").decode().replace("\0", "\ufffd")


def event_of(action: Action, outcome: Outcome, detail: str | None) -> dict[str, Any]:
    """Return the event by which a child reports how a run ended."""
    said: dict[str, Any] = {"approval": action.request_id, "detail": detail or ""}
    if outcome == "unknown":
        return {"type": "unknown_outcome", **said}
    return {"type": "tool_finished", "tool_name": action.tool_name, "ok": outcome == "ran", **said}


class Gate:
    """Asks for actions and waits for their answers, in threads.

    `timeout` bounds the wait of this program, in seconds; the request stays open after it. `on_asked` gets each
    approval as it is asked, for example to print where it can be answered.
    """

    def __init__(self, client: Client, *, timeout: float | None = None, on_asked: Told | None = None) -> None:
        self.client = client
        self.timeout = timeout
        self._on_asked = on_asked

    def request_id(self, name: str) -> str:
        """Return the id that the next process with this key repeats for the same name."""
        return self.client.request_id(name)

    def ask(self, action: Action) -> dict[str, Any]:
        """Ask, and return the approval. A repeated ask returns the same one, with its answer if there is one."""
        body = action.body
        try:
            try:
                approval = self.client.ask_approval(**body)
            except LOST:
                time.sleep(PAUSE)
                approval = self.client.ask_approval(**body)
        except Problem as problem:
            raise conflicting(problem) from problem
        if self._on_asked is not None:
            self._on_asked(approval)
        return approval

    def wait(self, approval: dict[str, Any]) -> Decision:
        """Wait for the answer. After the timeout it is *pending*."""
        if approval["status"] != "pending":
            return decision_of(approval)
        with ApprovalSink(self.client) as sink:
            if self.timeout is None:
                return sink.outcome(approval["id"], ROUND)
            return sink.wait_for_approval(approval["id"], self.timeout).result()

    def decision(self, action: Action) -> Decision:
        """Ask and wait. Raises NotApproved unless the answer is an approval."""
        return checked(self.answer(action))

    def answer(self, action: Action) -> Decision:
        """Ask and wait. Return the decision, or *pending* after the timeout."""
        return self.wait(self.ask(action))

    def consume(self, action: Action, decision: Decision, claim: str) -> dict[str, Any]:
        """Take the one execution, and return the arguments to run. Raises ApprovalUnusable.

        `claim` is a secret of this execution. `report` needs it.
        """
        try:
            return self.client.consume_approval(decision, claim, facts_now(action, decision.arguments))
        except NotConsumed as refusal:
            raise unusable(refusal, decision) from refusal

    @contextmanager
    def reporting(self, action: Action, decision: Decision, claim: str) -> Iterator[None]:
        """Report how the body ended: as *ran*, as *failed* with its error, or as *unknown* when it was interrupted."""
        try:
            yield
        except BaseException as error:
            self.report(action, decision, claim, outcome_of(error), described(error))
            raise
        self.report(action, decision, claim, "ran")

    def report(
        self, action: Action, decision: Decision, claim: str, outcome: Outcome, detail: str | None = None
    ) -> None:
        """Report how the run ended. A report that cannot be made is logged: the run itself is over."""
        try:
            self.client.report_outcome(decision.approval_id, outcome, claim=claim, detail=detail)
        except (Problem, *LOST) as error:
            log.warning("the outcome of %s could not be reported: %s", decision.approval_id, error)


class ChildGate(Gate):
    """The same inside a child of Wardroom, for plain functions."""

    def __init__(self, child: "Child", *, timeout: float | None = None) -> None:
        self.child = child
        self.timeout = timeout

    def request_id(self, name: str) -> str:
        """Return the id that a restart of this child repeats for the same name."""
        return self.child.request_id(name)

    def answer(self, action: Action) -> Decision:
        """Ask and wait. Return the decision, or *pending* after the timeout."""
        from wardroom.child import Refused

        tool, arguments, options = action.for_child
        try:
            return self.child.approve(tool, arguments, timeout=self.timeout, **options)
        except Refused as refusal:
            if refusal.code != "conflict":
                raise
            raise ApprovalUnusable(refusal.detail, None, refusal.code) from refusal

    def consume(self, action: Action, decision: Decision, claim: str) -> dict[str, Any]:
        """Take the one execution, and return the arguments to run. Raises ApprovalUnusable."""
        try:
            return self.child.consume(decision, claim, facts_now(action, decision.arguments))
        except NotConsumed as refusal:
            raise unusable(refusal, decision) from refusal

    def report(
        self, action: Action, decision: Decision, claim: str, outcome: Outcome, detail: str | None = None
    ) -> None:
        """Report how the run ended, by an event."""
        from wardroom.child import Ended

        with suppress(Ended):
            self.child.emit(**event_of(action, outcome, detail))


def plain_gate(
    target: "Client | Child | Gate", *, timeout: float | None = None, on_asked: Told | None = None
) -> Gate | None:
    """Return a gate over a client or a child for plain functions, or None for anything else."""
    from wardroom.sync import Child

    if isinstance(target, Gate):
        return target
    if isinstance(target, Client):
        return Gate(target, timeout=timeout, on_asked=on_asked)
    return ChildGate(target, timeout=timeout) if isinstance(target, Child) else None
