"""The reasons why an action does not run. The text of each is written for the model that called the tool."""

from wardroom.decision import AlreadyConsumed, Decision, NotConsumed


class NotApproved(Exception):
    """The action does not run. `str()` is the message for the model; `decision` is the answer, if there is one."""

    def __init__(self, message: str, decision: Decision | None = None) -> None:
        super().__init__(message)
        self.decision = decision


class ApprovalDenied(NotApproved):
    """A person or a rule said no."""


class ApprovalExpired(NotApproved):
    """Nobody answered before the deadline of the request. It is no refusal."""


class ApprovalCancelled(NotApproved):
    """The request was withdrawn, or the session that asked has ended."""


class ApprovalPending(NotApproved):
    """Nobody has answered yet. The request stays open: ask again with the same request id to go on waiting."""


class ApprovalUnusable(NotApproved):
    """It was approved, and it may not run any more. `code` is the reason, e.g. `stale`, `consumed`, `not-running`."""

    def __init__(self, message: str, decision: Decision | None = None, code: str = "") -> None:
        super().__init__(message, decision)
        self.code = code


#: For each state without consent: its exception, and the message for the model when no person wrote one.
_BY_STATE: dict[str, tuple[type[NotApproved], str]] = {
    "denied": (ApprovalDenied, "The request was denied."),
    "expired": (ApprovalExpired, "No one answered in time. This is not a refusal."),
    "cancelled": (ApprovalCancelled, "The request was withdrawn before anybody answered it."),
    "pending": (ApprovalPending, "Nobody has answered yet. This is neither consent nor refusal."),
}


def refusal_of(decision: Decision) -> NotApproved | None:
    """Return the reason why a decision lets nothing run, or None for an approval. An unknown state is no approval."""
    if decision.kind == "respond":
        return ApprovalDenied(f"It does not run. The answer of a person: {decision.message}", decision)
    if decision.state == "approved":
        return None
    kind, silence = _BY_STATE.get(decision.state, (NotApproved, f"The request is {decision.state}."))
    said = decision.message or silence
    return kind(f"The request was denied: {said}" if decision.message and kind is ApprovalDenied else said, decision)


def unusable(refusal: NotConsumed, decision: Decision) -> ApprovalUnusable:
    """Return the reason why an approved action still does not run."""
    if isinstance(refusal, AlreadyConsumed):
        text = "It was approved, and another execution has taken it already. Its outcome is not known here."
    elif refusal.code == "stale":
        text = "It was approved, but the facts it depends on have changed since. It did not run. Ask again."
    else:
        text = f"It was approved, but it may not run any more ({refusal.code}). It did not run."
    return ApprovalUnusable(text, decision, refusal.code)
