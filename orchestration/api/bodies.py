"""The bodies of the session calls."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from uuid import UUID

from msgspec import Meta, structs

from core.limits import LIMITS
from core.web import faults
from core.web.fields import Body, one_of, says, shaped, text
from core.web.openapi import values
from ledger.long_poll import LONGEST_WAIT
from mailbox.envelope import BODY, SentMessage
from mailbox.states import ASK_MODES
from orchestration.sessions.limits import NAMES, PREFIX
from orchestration.sessions.spawn import LONGEST, SpawnOrder
from orchestration.states import LONGEST_RUNNER, Runner, WaitFor

ROLE = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ROLE_WORDS = "1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or a digit"

_WITH_A_COMMAND = sorted(role for role, means in LIMITS.roles.items() if "command" in means)
# Bounds numbers only. Other values are the caller's own and are not checked.
_WATCHDOG = {PREFIX + name: values.any_json("ExactJsonValue", maximum=LIMITS.max_watchdog_secs) for name in NAMES}
_METADATA = (
    "At most 64 KiB and 1,000 keys; numbers from -(2^53 - 1) to 2^53 - 1. The watchdog reads "
    "`child_watchdog.check_interval_secs`, `child_watchdog.max_total_secs` and `child_watchdog.max_idle_secs`: "
    "each is at most 2592000 (30 days)."
)

_RUNNER = (
    "`process`, `external`, or a runner of a package on this server. Without it that of the role, else the first "
    "installed runner that takes the session, else `process`."
)


def _wrong_role(role: str) -> str | None:
    """Check that the role is a name: roles appear in mailboxes, logs and screens."""
    return None if re.fullmatch(ROLE[1:-1], role) else faults.must(ROLE_WORDS, role)


class SpawnBody(Body, frozen=True):
    """`POST sessions`."""

    assignment: Annotated[str, text(LONGEST["assignment"], says="The work, in words.")] = ""
    role: Annotated[
        str, text(pattern=ROLE, right=ROLE_WORDS, check=_wrong_role, says="A role of this server, such as `runbook`.")
    ] = ""
    parent: UUID | None = None
    # The operation refuses an unknown one, and names those of this server.
    runner: Annotated[str, text(LONGEST_RUNNER, 1, says=_RUNNER)] | None = None
    command: (
        Annotated[
            list[Annotated[str, text(4096)]],
            Meta(min_length=1, max_length=256, description="argv of the child; needs the scope sessions:command."),
        ]
        | None
    ) = None
    title: Annotated[str, text(LONGEST["title"])] = ""
    model: Annotated[str, text(LONGEST["model"], 1)] | None = None
    provider: Annotated[str, text(LONGEST["provider"], 1)] | None = None
    reasoning_effort: Annotated[str, text(LONGEST["reasoning_effort"], 1)] | None = None
    disabled_tools: Annotated[list[Annotated[str, text(256, 1)]], Meta(max_length=256)] = []
    metadata: Annotated[
        dict[str, Any], shaped(values.json_object("ExactJsonValue", properties=_WATCHDOG), says=_METADATA)
    ] = {}

    rules: ClassVar[dict[str, Any]] = {
        "if": {"properties": {"runner": {"const": Runner.EXTERNAL.value}}, "required": ["runner"]},
        "then": {"properties": {"command": {"type": "null"}}},
        # Without a runner, an installed one may take the session.
        "else": {
            "if": {"properties": {"runner": {"const": Runner.PROCESS.value}}, "required": ["runner"]},
            "then": {
                "anyOf": [
                    {"properties": {"command": {"type": "array"}}, "required": ["command"]},
                    {"properties": {"role": {"enum": _WITH_A_COMMAND}}, "required": ["role"]},
                ]
            },
        },
    }


def order(body: SpawnBody) -> SpawnOrder:
    """Return the order of a body."""
    fields = structs.asdict(body)
    command = None if body.command is None else tuple(body.command)
    return SpawnOrder(**fields | {"command": command, "disabled_tools": tuple(body.disabled_tools)})


class CancelBody(Body, frozen=True):
    """`POST sessions/{id}/cancel`."""

    reason: Annotated[str, text(2000, 1)] | None = None
    cascade: Annotated[bool, says("Also cancel the sessions below it (default: true).")] = True


class WaitBody(Body, frozen=True):
    """`POST sessions/{id}/wait`."""

    wait_for: Annotated[str, one_of(WaitFor.values)] = WaitFor.ALL.value
    children: Annotated[list[UUID], Meta(max_length=256)] | None = None
    timeout_secs: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None


class MessageBody(SentMessage, frozen=True, kw_only=True):
    """`POST sessions/{id}/messages`."""

    body: Annotated[Any, shaped(values.any_json(), says=BODY)]
    interrupt: Annotated[bool, says("Ask a running attempt to stop first.")] = False


class AskBody(Body, frozen=True):
    """`POST sessions/{id}/ask`."""

    question: Annotated[str, shaped(values.text(64 * 1024, least=1, pattern=values.NOT_BLANK), says="At most 64 KiB.")]
    mode: Annotated[
        str,
        shaped(values.choice(ASK_MODES), says="`query` (default): beside the work; `steer`: a turn of the agent."),
    ] = "query"
    timeout_secs: (
        Annotated[float, Meta(ge=0, le=LONGEST_WAIT, description="Seconds to wait, at most `held_call_secs`.")] | None
    ) = None
