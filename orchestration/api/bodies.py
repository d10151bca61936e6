"""The bodies of the session calls, as serializers: they validate the input and describe it in the OpenAPI document."""

from __future__ import annotations

import re

from django.conf import settings
from rest_framework import serializers

from core.display.names import UNSEEN
from core.web.bodies import CHECKED, Body, Flag, Id, Text, Whole
from core.web.openapi import values
from ledger.long_poll import LONGEST_WAIT
from mailbox import message_kinds as messages
from mailbox.envelope import LONGEST_ID, LONGEST_ROLE, OTHERS_ID
from mailbox.states import ASK_MODES, PUBLIC_KINDS
from orchestration.sessions.limits import NAMES, PREFIX
from orchestration.sessions.spawn import LONGEST
from orchestration.states import Runner, WaitFor

ROLE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


_WITH_A_COMMAND = sorted(role for role, means in settings.WARDROOM["roles"].items() if "command" in means)
# Bounds numbers only. Other values are the caller's own and are not checked.
_WATCHDOG = {PREFIX + name: {"maximum": settings.WARDROOM["max_watchdog_secs"]} for name in NAMES}


class SpawnBody(Body):
    """`POST sessions`."""

    assignment = Text(
        required=False, allow_blank=True, max_length=LONGEST["assignment"], help_text="The work, in words."
    )
    role = Text(required=False, help_text="A role of this server, such as `runbook`.")
    parent = Id(required=False)  # type: ignore[assignment]
    runner = serializers.ChoiceField(choices=Runner.choices, required=False)
    command = serializers.ListField(
        child=Text(allow_blank=True, max_length=4096),
        required=False,
        min_length=1,
        max_length=256,
        help_text="argv of the child; needs the scope sessions:command.",
    )
    title = Text(required=False, allow_blank=True, max_length=LONGEST["title"])
    model = Text(required=False, max_length=LONGEST["model"])
    provider = Text(required=False, max_length=LONGEST["provider"])
    reasoning_effort = Text(required=False, max_length=LONGEST["reasoning_effort"])
    disabled_tools = serializers.ListField(child=Text(max_length=256), required=False, max_length=256)
    metadata = serializers.DictField(
        child=serializers.JSONField(allow_null=True),
        required=False,
        help_text=(
            "At most 64 KiB and 1,000 keys; numbers from -(2^53 - 1) to 2^53 - 1. The watchdog reads "
            "`child_watchdog.check_interval_secs`, `child_watchdog.max_total_secs` and `child_watchdog.max_idle_secs`: "
            "each is at most 2592000 (30 days)."
        ),
    )

    schemas = {
        "role": values.text(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        "runner": values.choice([Runner.PROCESS.value, Runner.EXTERNAL.value]),
        "metadata": values.json_object("ExactJsonValue", properties=_WATCHDOG),
    }
    rules = {
        "if": {"properties": {"runner": {"const": Runner.EXTERNAL.value}}, "required": ["runner"]},
        "then": {"properties": {"command": {"type": "null"}}},
        "else": {
            "anyOf": [
                {"properties": {"command": {"type": "array"}}, "required": ["command"]},
                {"properties": {"role": {"enum": _WITH_A_COMMAND}}, "required": ["role"]},
            ]
        },
    }

    def validate_role(self, role: str) -> str:
        """Check that the role is a name: roles appear in mailboxes, logs and screens."""
        if not ROLE.match(role):
            detail = "must be 1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or a digit"
            raise serializers.ValidationError(detail, code=CHECKED)
        return role


class CancelBody(Body):
    """`POST sessions/{id}/cancel`."""

    reason = Text(required=False, max_length=2000)
    cascade = Flag(required=False, help_text="Also cancel the sessions below it (default: true).")


class WaitBody(Body):
    """`POST sessions/{id}/wait`."""

    wait_for = serializers.ChoiceField(choices=WaitFor.choices, required=False)
    children = serializers.ListField(child=Id(), required=False, max_length=256)
    timeout_secs = Whole(required=False, min_value=1, max_value=7 * 86400)


class SenderBody(Body):
    """The sender that a message claims. It is shown as claimed."""

    session_id = Text(required=False, allow_blank=True, max_length=LONGEST_ID)
    role = Text(required=False, max_length=LONGEST_ROLE)
    schemas = {"role": values.text(LONGEST_ROLE, least=1, pattern=f"^[^{UNSEEN}]*$")}


class MessageBody(Body):
    """`POST sessions/{id}/messages`."""

    message_kind = Text(max_length=40)
    body = serializers.JSONField(allow_null=True)
    id = Text(required=False, max_length=LONGEST_ID, help_text="The same id is the same message.")
    correlation_id = Text(required=False, max_length=LONGEST_ID)
    interrupt = Flag(required=False, help_text="Ask a running attempt to stop first.")
    created_at = serializers.DateTimeField(required=False)

    schemas = {
        "message_kind": values.choice(sorted(PUBLIC_KINDS)),
        "id": values.name(LONGEST_ID, pattern=OTHERS_ID),
        "correlation_id": values.name(LONGEST_ID),
    }
    rules = messages.RULES


class AskBody(Body):
    """`POST sessions/{id}/ask`, for the OpenAPI document: the ASGI route reads its own body."""

    question = Text(max_length=64 * 1024, help_text="At most 64 KiB.")
    mode = serializers.ChoiceField(
        choices=ASK_MODES, required=False, help_text="`query` (default): beside the work; `steer`: a turn of the agent."
    )
    timeout_secs = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=LONGEST_WAIT,
        help_text="Seconds to wait, at most `held_call_secs`.",
    )
    schemas = {"question": values.text(64 * 1024, least=1, pattern=values.NOT_BLANK)}


MessageBody._declared_fields["from"] = SenderBody(required=False)
