"""Every frame of `docs/protocol.md` as a frozen struct: both directions, both dialects, no logic.

`wardroom.protocol` decodes and encodes them, and is the module to import them from.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

BATCH_EVENTS: Final = 64
MAX_INTEGER: Final = 2**53 - 1
EVENT_TYPE_CHARACTERS: Final = 200

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Seq = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
Attempt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Secs = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Resource = Annotated[str, Meta(max_length=4096)]
#: The longest question of a child, and its longest answer to one.
QUESTION_CHARACTERS: Final = 16_384
Question = Annotated[str, Meta(max_length=QUESTION_CHARACTERS)]
Reason = Annotated[str, Meta(max_length=2048)]
Event = dict[str, Any]
#: Facts that an action depends on: `{name, value_hash, shown}` in a request, `{name, value_hash}` when it is consumed.
Facts = Annotated[list[dict[str, Any]], Meta(max_length=32)]

Qos = Literal["ephemeral", "snapshot", "durable"]
TerminalStatus = Literal["completed", "error", "cancelled", "suspended"]
WaitFor = Literal["all", "any", "first_error"]
ApprovalStatus = Literal["pending", "approved", "denied", "expired", "cancelled"]
SettledStatus = Literal["approved", "denied", "expired", "cancelled"]

EPHEMERAL: Final = frozenset({"token", "reasoning_token", "tool_token", "sub_agent_heartbeat"})
SNAPSHOT: Final = frozenset({"runner_progress", "token_budget_updated", "context_pressure_notification"})


def qos_of(event_type: str) -> Qos:
    """Return the class of an event. An unknown type is durable, so that it is never lost."""
    if event_type in EPHEMERAL:
        return "ephemeral"
    return "snapshot" if event_type in SNAPSHOT else "durable"


def _event_type(event: Event) -> str:
    """Return the `type` of an event. Raises ValueError for a missing or invalid one."""
    kind = event.get("type")
    if not isinstance(kind, str) or not 1 <= len(kind) <= EVENT_TYPE_CHARACTERS:
        raise ValueError(f"event.type must be a string of 1 to {EVENT_TYPE_CHARACTERS} characters")
    return kind


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a frame. Members that are None are not written."""


class Frame(Part, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """One frame of the protocol."""


# --- child -> server ------------------------------------------------------------------------------


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame of every connection."""

    attempt: Attempt
    client: str | None = None
    need_run: bool | None = None


class RunAck(Frame, frozen=True, kw_only=True, tag="run_ack"):
    """The child has received the run."""


class EventFrame(Frame, frozen=True, kw_only=True, tag="event"):
    """One agent event."""

    seq: Seq
    event: Event

    def __post_init__(self) -> None:
        _event_type(self.event)


class EventBatch(Frame, frozen=True, kw_only=True, tag="event_batch"):
    """Many events of one class at once."""

    first_seq: Seq
    last_seq: Seq
    qos: Qos
    events: Annotated[list[Event], Meta(min_length=1, max_length=BATCH_EVENTS)]

    def __post_init__(self) -> None:
        if self.last_seq - self.first_seq + 1 != len(self.events):
            raise ValueError("first_seq and last_seq do not match the number of events")
        if any(qos_of(_event_type(event)) != self.qos for event in self.events):
            raise ValueError(f"an event is not {self.qos}")


class ApprovalBody(Part, frozen=True, kw_only=True):
    """The content of an approval request: the action, and text about it."""

    tool_name: Name
    permission: Name
    resource: Resource
    question: Question | None = None
    arguments: dict[str, Any] | None = None
    tool_call_id: Id | None = None
    tool_schema_version: Name | None = None
    risk: Name | None = None
    reversibility: Name | None = None
    preconditions: Facts | None = None
    plan: dict[str, Any] | None = None
    tool_schema: dict[str, Any] | None = None
    response_schema: dict[str, Any] | None = None
    expires_in_secs: Secs | None = None
    allowed_decisions: Annotated[list[Name], Meta(min_length=1, max_length=16)] | None = None


class ApprovalRequest(Frame, frozen=True, kw_only=True, tag="approval_request"):
    """A request for approval. The child continues to process frames."""

    id: Id
    body: ApprovalBody


class ApprovalAck(Frame, frozen=True, kw_only=True, tag="approval_ack"):
    """The decision reached the tool (`received`), or the tool is about to run (`consumed`)."""

    id: Id
    state: Literal["received", "consumed"]
    digest: Id | None = None
    claim: Id | None = None
    preconditions: Facts | None = None


class ApprovalWithdraw(Frame, frozen=True, kw_only=True, tag="approval_withdraw"):
    """The tool no longer needs the approval."""

    id: Id
    reason: Reason | None = None


class ApprovalAnswer(Frame, frozen=True, kw_only=True, tag="approval_answer"):
    """The answer to a question about a pending request. `id` is that of the question."""

    id: Id
    answer: Annotated[str, Meta(min_length=1, max_length=QUESTION_CHARACTERS)]


class MessageAdmitted(Frame, frozen=True, kw_only=True, tag="message_admitted"):
    """These messages entered the agent's history at a safe point."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=4096)]


class Send(Frame, frozen=True, kw_only=True, tag="send"):
    """A message for another mailbox."""

    id: Id
    message_kind: Name
    body: Any = None
    to: Id | None = None
    correlation_id: Id | None = None


class Item(Part, frozen=True, kw_only=True):
    """One item of the agent's history."""

    role: Name
    content: Any = None
    id: Id | None = None


class Transcript(Frame, frozen=True, kw_only=True, tag="transcript"):
    """History that this attempt added."""

    first: Count
    items: Annotated[list[Item], Meta(max_length=1024)]


class Terminal(Frame, frozen=True, kw_only=True, tag="terminal"):
    """The end of this attempt."""

    status: TerminalStatus
    result: Any = None
    error: str | None = None
    transcript: list[Item] | None = None
    wait_for: WaitFor | None = None
    children: Annotated[list[Id], Meta(max_length=1024)] | None = None
    timeout_secs: Secs | None = None


class PlainEvent(Frame, frozen=True, kw_only=True, tag="event"):
    """One agent event of a plain child. The server numbers it on arrival."""

    event: Event

    def __post_init__(self) -> None:
        _event_type(self.event)


# --- server -> child ------------------------------------------------------------------------------


class ConnectionLimits(Part, frozen=True, kw_only=True):
    """The limits of a connection."""

    max_frame_bytes: int
    max_unacked_events: int


class Welcome(Frame, frozen=True, kw_only=True, tag="welcome"):
    """The connection is open."""

    session_id: Id
    attempt: Attempt
    acked_event_seq: Count
    transcript_next: Count | None = None
    limits: ConnectionLimits
    ping_secs: float
    server_time: str


class RunSession(Part, frozen=True, kw_only=True):
    """The place of the session in its tree."""

    session_id: Id
    root_session_id: Id
    depth: Count
    parent_session_id: Id | None = None


class Model(Part, frozen=True, kw_only=True):
    """The model to use, for children that use one."""

    provider: str | None = None
    model: str | None = None
    provider_type: str | None = None


class Resume(Part, frozen=True, kw_only=True):
    """The reason why this attempt was started again."""

    reason: str
    wait_for: str | None = None
    children: list[Any]
    #: For people and models: after a timeout, that nothing about the children was verified.
    note: str | None = None


class RunLimits(Part, frozen=True, kw_only=True):
    """The watchdog's limits for this attempt."""

    max_total_secs: int | None = None
    max_idle_secs: int | None = None


class Run(Frame, frozen=True, kw_only=True, tag="run"):
    """The work."""

    assignment: str
    attempt: Attempt
    session: RunSession
    role: str | None = None
    model: Model | None = None
    reasoning_effort: str | None = None
    disabled_tools: list[str]
    messages: list[dict[str, Any]]
    history_url: str | None = None
    resume: Resume | None = None
    limits: RunLimits | None = None
    may_run_unasked: bool = False
    permission_policy: Any = None
    secrets: dict[str, Any] | None = None

    def __repr__(self) -> str:
        # Frames are logged. Secrets must not be.
        return f"Run(attempt={self.attempt}, session={self.session!r})"


class Sender(Part, frozen=True, kw_only=True):
    """The sender of a message. The server sets it for a child; a key may claim any."""

    session_id: str | None = None
    role: str | None = None


class Message(Frame, frozen=True, kw_only=True, tag="message"):
    """A message from the session's mailbox."""

    id: Id
    sender: Sender | None = field(default=None, name="from")
    message_kind: str
    body: Any = None
    text: str
    created_at: str
    correlation_id: str | None = None


class ApprovalRegistered(Frame, frozen=True, kw_only=True, tag="approval_registered"):
    """The request is durable, and staff can see it."""

    id: Id
    approval_id: Id
    status: ApprovalStatus
    digest: str
    expires_at: str | None = None


class ApprovalReply(Frame, frozen=True, kw_only=True, tag="approval_reply"):
    """The decision. `approved` is true only for `decision: approved`."""

    id: Id
    approval_id: Id
    approved: bool
    decision: SettledStatus
    message: str | None = None
    arguments: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    digest: str
    version: int

    def __post_init__(self) -> None:
        if self.approved != (self.decision == "approved"):
            raise ValueError("approved and decision disagree")


class ApprovalConsumed(Frame, frozen=True, kw_only=True, tag="approval_consumed"):
    """The child has the one execution."""

    id: Id


class ApprovalQuestion(Frame, frozen=True, kw_only=True, tag="approval_question"):
    """A person asks about a pending request. The answer goes back as `approval_answer` with the same `id`."""

    id: Id
    request: Id
    approval_id: Id
    question: str


class ApprovalAnswered(Frame, frozen=True, kw_only=True, tag="approval_answered"):
    """The answer to a question is durable."""

    id: Id


class EventAck(Frame, frozen=True, kw_only=True, tag="event_ack"):
    """Every durable event up to `seq` is committed."""

    seq: Count


class SendAck(Frame, frozen=True, kw_only=True, tag="send_ack"):
    """The message is durable."""

    id: Id
    outcome: str


class TranscriptAck(Frame, frozen=True, kw_only=True, tag="transcript_ack"):
    """History before `next` is stored."""

    next: Count


class TerminalAck(Frame, frozen=True, kw_only=True, tag="terminal_ack"):
    """The attempt is over. The server closes with 1000."""

    status: str


class Cancel(Frame, frozen=True, kw_only=True, tag="cancel"):
    """The child must stop. `ended` is the status of an attempt that is over already."""

    reason: str
    grace_secs: float
    ended: str | None = None


class PolicyChanged(Frame, frozen=True, kw_only=True, tag="policy_changed"):
    """Rules changed. The child must drop its cached rules."""

    version: int


class Error(Frame, frozen=True, kw_only=True, tag="error"):
    """This frame was refused. The connection stays open."""

    code: str
    detail: str
    ref: str | None = None
