"""A stand-in for the program `claude`: it speaks the control protocol of the Agent SDK over its pipes, without a model.

The prompt of the user is the JSON of the calls to make. For each call it asks for permission, then has the SDK run the
tool, and prints the result as Claude Code does.
"""

import json
import sys
import threading
from typing import Any

answers: dict[str, Any] = {}
changed = threading.Condition()
hooks: list[str] = []
writing = threading.Lock()


def say(frame: dict[str, Any]) -> None:
    with writing:
        sys.stdout.write(json.dumps(frame) + "\n")
        sys.stdout.flush()


def request(id: str, body: dict[str, Any]) -> Any:
    """Send a control request to the SDK, and wait for its answer."""
    say({"type": "control_request", "request_id": id, "request": body})
    with changed:
        changed.wait_for(lambda: id in answers)
        return answers[id].get("response", {"behavior": "deny", "message": answers[id].get("error", "")})


def proxied(id: str, method: str, params: dict[str, Any]) -> Any:
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    body = {"subtype": "mcp_message", "server_name": "kit", "message": message}
    return request(id, body)["mcp_response"]


def make(call: dict[str, Any]) -> None:
    """Make one call: ask for permission, run the tool, print the result."""
    asked = {"subtype": "can_use_tool", "tool_name": call["tool"], "input": call["input"], "tool_use_id": call["id"]}
    answer = request(f"permission {call['id']}", asked)
    if answer["behavior"] == "allow":
        run = {"name": call["tool"], "arguments": answer["updatedInput"]}
        text = proxied(f"run {call['id']}", "tools/call", run)["result"]["content"][0]["text"]
        ended = {"hook_event_name": "PostToolUse", "tool_name": call["tool"], "tool_use_id": call["id"]}
        hook = {"subtype": "hook_callback", "callback_id": hooks[0], "input": ended, "tool_use_id": call["id"]}
        request(f"hook {call['id']}", hook)
    else:
        text = answer["message"]
    content = [{"type": "tool_result", "tool_use_id": call["id"], "content": text}]
    say(
        {"type": "user", "message": {"role": "user", "content": content}, "session_id": "s", "parent_tool_use_id": None}
    )


def work(calls: list[dict[str, Any]]) -> None:
    if calls:
        proxied("initialize", "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": INFO})
    threads = [threading.Thread(target=make, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say({"type": "result", "subtype": "success", **RESULT})


INFO = {"name": "fake", "version": "9.9.9"}
RESULT = {
    "duration_ms": 1,
    "duration_api_ms": 1,
    "is_error": False,
    "num_turns": 1,
    "session_id": "s",
    "result": "done",
}


def main() -> None:
    if "-v" in sys.argv or "--version" in sys.argv:
        print("9.9.9 (Claude Code)")
        return
    for line in sys.stdin:
        frame = json.loads(line)
        if frame["type"] == "control_request":
            for matcher in (frame["request"].get("hooks") or {}).get("PostToolUse", []):
                hooks.extend(matcher["hookCallbackIds"])
            answer = {"subtype": "success", "request_id": frame["request_id"], "response": {"commands": []}}
            say({"type": "control_response", "response": answer})
        elif frame["type"] == "control_response":
            with changed:
                answers[frame["response"]["request_id"]] = frame["response"]
                changed.notify_all()
        elif frame["type"] == "user":
            threading.Thread(target=work, args=(json.loads(frame["message"]["content"]),), daemon=True).start()


main()
