"""AG-UI 1.0: a pending approval as an interrupt of a run, and its answer as the resume of the next one.

An agent that speaks AG-UI ends its run with `run_finished(thread_id, run_id, approvals)`. There are two ways on:

- People answer in Wardroom. `resume(approvals)` is the `resume` of the next run.
- A person answers in the application. `answers(interrupts, resume)` checks the entries and returns each decision,
  for `decide`, with the key of that person. The digest and the version that were shown go with it.

Everything here is JSON as Python objects, so no package of AG-UI is needed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from wardroom.calls.approvals import ApprovalCalls

Json = dict[str, Any]
T = TypeVar("T")

#: The members of an approval that an interrupt tells, so that an application can show the exact action.
_SHOWN = (
    "digest",
    "version",
    "tool_name",
    "arguments",
    "permission",
    "resource",
    "risk",
    "reversibility",
    "question",
    "session",
    "path",
    "allowed_decisions",
)


class InvalidResume(ValueError):
    """The entries of a resume do not answer the interrupts. An agent ends such a run with RUN_ERROR."""


def interrupt(approval: Json) -> Json:
    """Return the interrupt of a pending approval. Its id is the approval's."""
    is_question = "respond" in approval["allowed_decisions"]
    call_id = approval["tool_call_id"]
    text = f"Run {approval['tool_name']} on {approval['resource']}?"
    form = approval["response_schema"] or _answer_schema()
    properties: Json = {"approved": {"type": "boolean"}, "message": {"type": "string"}}
    if "edit" in approval["allowed_decisions"]:
        properties["editedArgs"] = {"type": "object", "description": "All arguments to run instead. Not merged."}
    verdict = {"type": "object", "properties": properties, "required": ["approved"]}
    return {
        "id": approval["id"],
        "reason": "input_required" if is_question else "tool_call" if call_id else "confirmation",
        "message": (approval["question"] or text) if is_question else text,
        "responseSchema": form if is_question else verdict,
        "metadata": {"wardroom": {name: approval[name] for name in _SHOWN}},
        **({"toolCallId": call_id} if call_id else {}),
        **({"expiresAt": approval["expires_at"]} if approval["expires_at"] else {}),
    }


def run_finished(thread_id: str, run_id: str, approvals: Iterable[Json]) -> Json:
    """Return the event that ends a run which waits for these approvals. Send the snapshots of its state before."""
    if not (interrupts := [interrupt(each) for each in approvals]):
        raise ValueError("a run that waits for nothing is not interrupted")
    outcome = {"type": "interrupt", "interrupts": interrupts}
    return {"type": "RUN_FINISHED", "threadId": thread_id, "runId": run_id, "outcome": outcome}


def resume(approvals: Iterable[Json]) -> list[Json]:
    """Return the `resume` of the next run from settled approvals. Raises InvalidResume while one is pending."""
    return [_entry(each) for each in approvals]


def answers(interrupts: Iterable[Json], entries: Iterable[Json]) -> dict[str, Json | None]:
    """Return the decision of each interrupt, by its id: the fields for `decide`, or None where nobody decided.

    Raises InvalidResume unless there is exactly one entry for each interrupt, with an answer of the right form.
    """
    asked = {each["id"]: each for each in interrupts}
    found: dict[str, Json | None] = {}
    for entry in entries:
        id = str(entry.get("interruptId"))
        if id not in asked:
            raise InvalidResume(f"no interrupt has the id {id!r}")
        if id in found:
            raise InvalidResume(f"the interrupt {id} is answered twice")
        found[id] = _decision(asked[id], entry)
    if missing := set(asked) - set(found):
        raise InvalidResume(f"no answer to {', '.join(sorted(missing))}: a resume addresses every interrupt")
    return found


def decide(client: ApprovalCalls[T], interrupt: Json, decision: Json) -> T:
    """Give the decision of a person, by a client with that person's key, on exactly the action that was shown."""
    shown = interrupt["metadata"]["wardroom"]
    return client.decide({"id": interrupt["id"], "digest": shown["digest"], "version": shown["version"]}, **decision)


def _answer_schema() -> Json:
    return {"type": "object", "properties": {"answer": {"type": "string", "minLength": 1}}, "required": ["answer"]}


def _entry(approval: Json) -> Json:
    if approval["status"] == "pending":
        raise InvalidResume(f"nobody has answered {approval['id']} yet")
    told = approval["decision"]
    metadata = {"wardroom": {"status": approval["status"], "digest": approval["digest"]}}
    if told is None:  # It expired or was withdrawn: nobody refused.
        return {"interruptId": approval["id"], "status": "cancelled", "metadata": metadata}
    if told["kind"] == "respond":
        payload: Json = told["response"] or {"answer": told["message"]}
    else:
        payload = {"approved": approval["status"] == "approved"}
        payload |= {"editedArgs": told["arguments"]} if told["kind"] == "edit" else {}
        payload |= {"message": told["message"]} if told["message"] else {}
    return {"interruptId": approval["id"], "status": "resolved", "payload": payload, "metadata": metadata}


def _decision(interrupt: Json, entry: Json) -> Json | None:
    if entry.get("status") == "cancelled":
        return None
    payload = entry.get("payload")
    if entry.get("status") != "resolved" or not isinstance(payload, Mapping):
        raise InvalidResume(f"the entry of {interrupt['id']} is neither cancelled nor resolved with an object")
    if interrupt["reason"] == "input_required" and interrupt["responseSchema"] != _answer_schema():
        return {"decision": "respond", "response": dict(payload)}  # Wardroom checks it against the form.
    if interrupt["reason"] == "input_required":
        return {"decision": "respond", "message": _text(interrupt, payload, "answer", needed=True)}
    # Only true is consent. A missing or another value is no answer.
    if not isinstance(payload.get("approved"), bool):
        raise InvalidResume(f"the entry of {interrupt['id']} needs `approved`, true or false")
    message = _text(interrupt, payload, "message")
    said = {"message": message} if message else {}
    if not payload["approved"]:
        return {"decision": "deny", **said}
    if (edited := payload.get("editedArgs")) is None:
        return {"decision": "approve", **said}
    if "editedArgs" not in interrupt["responseSchema"]["properties"] or not isinstance(edited, Mapping):
        raise InvalidResume(f"the arguments of {interrupt['id']} cannot be edited to {edited!r}")
    return {"decision": "edit", "arguments": dict(edited), **said}


def _text(interrupt: Json, payload: Mapping[str, Any], name: str, *, needed: bool = False) -> str | None:
    value = payload.get(name)
    if isinstance(value, str) and value:
        return value
    if needed or value not in (None, ""):
        raise InvalidResume(f"`{name}` of {interrupt['id']} is a text")
    return None
