"""The schema of each kind's body, and the plain text of a body."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.web import faults
from core.web.openapi.values import NOT_BLANK
from mailbox.states import ASK_MODES


def _of_kind(kinds: list[str], body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"if": {"properties": {"message_kind": {"enum": kinds}}}, "then": {"properties": {"body": body, **fields}}}


_QUESTION = {"type": "string", "pattern": NOT_BLANK}
#: The rules that `errors` checks, as JSON Schema for a message.
RULES: dict[str, Any] = {
    **_of_kind(["task", "handoff"], {"type": ["string", "number", "boolean", "object", "array"]}),
    "else": {
        **_of_kind(
            ["ask"],
            {
                "type": "object",
                "required": ["question"],
                "properties": {"question": _QUESTION, "mode": {"enum": [*ASK_MODES, None]}},
            },
            # No address can end with dots alone.
            id={"not": {"enum": [".", ".."]}},
        ),
        "else": {
            **_of_kind(["reply"], {"type": "object", "required": ["answer"]}),
            "else": {"properties": {"body": {"type": "object"}}},
        },
    },
}

QUESTION = "a string that is not blank"
INSTRUCTION = "any JSON value but null"
ANSWER = f"{faults.VALUE} (null is one)"
_OBJECTS = {"ask": "an object of question and mode", "reply": "an object of answer"}

#: The members that may hold an object's plain text, in the order of preference.
_TEXTS = ("text", "question", "answer", "task", "message", "content")


def errors(kind: str, body: Any) -> Iterator[dict[str, str]]:
    """Return the errors of a body of this kind. Unknown members are kept: a newer peer may read them."""
    if kind in ("task", "handoff"):
        # As in the reference system's mailbox: the reader of an instruction knows its shape.
        if body is None:
            yield faults.wrong("body", body, INSTRUCTION)
    elif not isinstance(body, Mapping):
        yield faults.wrong("body", body, _OBJECTS.get(kind, faults.OBJECT))
    elif kind == "ask":
        question, mode = body.get("question"), body.get("mode")
        if not isinstance(question, str) or not question.strip():
            yield faults.wrong("body.question", question, QUESTION)
        if mode is not None and mode not in ASK_MODES:
            yield faults.wrong("body.mode", mode, faults.one_of(ASK_MODES))
    elif kind == "reply" and "answer" not in body:
        yield faults.wrong("body.answer", None, ANSWER)


def stored(kept: str) -> Any:
    """Return the JSON value of a stored text. If another program has written an invalid text to the row, return the
    text.

    One message that cannot be decoded must not break a claim or a list of many.
    """
    try:
        return json.loads(kept)
    except ValueError:
        return kept


def text(body: Any) -> str:
    """Return the body as plain text, for readers that know no kinds."""
    if isinstance(body, str):
        return body
    if isinstance(body, Mapping):
        found = next((body[name] for name in _TEXTS if isinstance(body.get(name), str)), None)
        if found is not None:
            return str(found)
    return json.dumps(body, ensure_ascii=False)
