"""Wardroom's REST for programs: spawn, watch, message, answer. Standard library only.

    client = Client("https://wardroom.example", "wr_key_...")
    session = client.spawn("# greet\\necho hello")
    for event in client.events(session["id"]):
        print(event["type"])

Every method returns the JSON of the answer. A refusal raises Problem.
"""

import http.client
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from wardroom.identity import is_loopback

TERMINAL_STATES = frozenset({"completed", "error", "timeout", "cancelled", "skipped"})
LONGEST_WAIT = 25.0


#: The event that a reader gets when its cursor is older than the stored events.
RESYNC: dict[str, Any] = {
    "session": None,
    "attempt": None,
    "seq": None,
    "source": "wardroom",
    "type": "resync",
    "payload": {},
    "at": None,
}


class Problem(Exception):
    """A refusal of Wardroom. `type` is the last word of the problem's type, `body` the whole document."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body
        self.type = str(body.get("type", "")).rpartition("/")[2].rpartition(":")[2]
        said = [str(body[name]) for name in ("detail", "errors") if body.get(name)]
        super().__init__(f"{status} {self.type}: {' '.join(said)}")


class Client:
    """One API key's view of one Wardroom."""

    def __init__(self, url: str, key: str, *, timeout: float = 35.0) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._timeout = timeout
        local = is_loopback(urlsplit(self.url).hostname or "")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*handlers)

    # --- sessions ----------------------------------------------------------------------------------

    def spawn(self, assignment: str, *, idempotency_key: str | None = None, **fields: Any) -> dict[str, Any]:
        """Spawn a session. `fields` as in `POST sessions` (role, runner, command, title, metadata, ...)."""
        return self.post("sessions", {"assignment": assignment, **fields}, idempotency_key)

    def session(self, id: str) -> dict[str, Any]:
        """Return one session."""
        return self.get(f"sessions/{quote(id)}")

    def sessions(self, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every session that matches the query, over all pages."""
        return self._pages("sessions", query)

    def wait_session(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Poll until the session has ended. Raise TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            session = self.session(id)
            if session["status"] in TERMINAL_STATES:
                return session
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"session {id} is still {session['status']}")
            time.sleep(0.2)

    def cancel(self, id: str, reason: str = "", *, cascade: bool = True) -> dict[str, Any]:
        """Ask a session, and by default its descendants, to stop."""
        return self.post(f"sessions/{quote(id)}/cancel", {"cascade": cascade, **({"reason": reason} if reason else {})})

    def message(self, session: str, body: Any, *, message_kind: str = "task", **fields: Any) -> dict[str, Any]:
        """Send a message to a session. Return `{id, outcome}`."""
        content = {"message_kind": message_kind, "body": body, **fields}
        return self.post(f"sessions/{quote(session)}/messages", content)

    def ask(
        self, session: str, question: str, *, mode: str = "query", timeout: float = LONGEST_WAIT, **fields: Any
    ) -> dict[str, Any]:
        """Ask a session and wait for its answer. `status` is `answered`, `pending` after `timeout` seconds, or `ended`.

        A lost connection does not lose the question. It is repeated once, under the same key, so it remains the same
        question.
        """
        until = time.monotonic() + timeout
        order = {"question": question, "mode": mode, "timeout_secs": min(timeout, LONGEST_WAIT), **fields}
        path, key = f"sessions/{quote(session)}/ask", secrets.token_urlsafe(24)
        try:
            current = self.post(path, order, key)
        except (OSError, http.client.HTTPException):
            current = self.post(path, order, key)
        while current["status"] == "pending" and (left := until - time.monotonic()) > 0:
            current = self.asked(session, current["ask_id"], timeout=left)
        return current

    def asked(self, session: str, ask_id: str, *, timeout: float = 0) -> dict[str, Any]:
        """Return an earlier ask: its answer, even late, or its state after `timeout` seconds (at most 25)."""
        query = {"timeout": round(min(timeout, LONGEST_WAIT), 3)}
        return self.get(f"sessions/{quote(session)}/asks/{quote(ask_id, safe='')}", query)

    # --- approvals ---------------------------------------------------------------------------------

    def approvals(self, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield approvals, e.g. `status="pending", session=id`, over all pages."""
        return self._pages("approvals", query)

    def approval(self, id: str) -> dict[str, Any]:
        """Return one approval."""
        return self.get(f"approvals/{quote(id)}")

    def wait_approval(self, id: str, timeout: float = LONGEST_WAIT) -> dict[str, Any]:
        """Wait for the answer, at most 25 s. `timed_out` in the result means that there is none yet."""
        return self.get(f"approvals/{quote(id)}/wait", {"timeout": min(timeout, LONGEST_WAIT)})

    def decide(self, approval: dict[str, Any], decision: str, **fields: Any) -> dict[str, Any]:
        """Decide exactly the approval that was shown: its digest and version are sent along."""
        shown = {"digest": approval["digest"], "version": approval["version"]}
        return self.post(f"approvals/{quote(approval['id'])}/decide", {"decision": decision, **shown, **fields})

    # --- events ------------------------------------------------------------------------------------

    def events(self, session: str, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events of a session, without end, over any number of connections, none twice.

        An event of the type `resync` means that events are lost to this reader: its cursor is older than the stored
        events. Take a snapshot then. Later events continue from the `cursor` of that event.
        """
        return self._stream(f"sessions/{quote(session)}/events", after)

    def feed(self, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events of the whole project, without end. `resync` as for one session."""
        return self._stream("feed", after)

    # --- requests ----------------------------------------------------------------------------------

    def get(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET under /api/v1."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def post(self, path: str, body: dict[str, Any], idempotency_key: str | None = None) -> dict[str, Any]:
        """POST under /api/v1."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", path, body, headers)

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        with self._open(method, path, body, headers, self._timeout) as response:
            raw = response.read()
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer

    def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str], timeout: float
    ) -> "http.client.HTTPResponse":
        request = urllib.request.Request(  # noqa: S310 - the caller chose the address.
            f"{self.url}/api/v1/{path}",
            data=None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass"),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **headers},
            method=method,
        )
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            raw = error.read()
            try:
                body = json.loads(raw)
            except ValueError:
                body = raw.decode(errors="replace")[:500]
            raise Problem(error.code, body if isinstance(body, dict) else {"detail": body}) from None
        return response

    def _pages(self, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        query = {name: value for name, value in query.items() if value is not None}
        while True:
            page = self.get(path, query)
            yield from page["results"]
            following = page.get("next")
            if not following:
                return
            query = {**query, "cursor": following}

    def _stream(self, path: str, after: int | None) -> Iterator[dict[str, Any]]:
        cursor = None if after is None else str(after)
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}
            try:
                with self._open("GET", path, None, headers, 60.0) as response:
                    for kind, id, data in server_sent_events(response):
                        cursor = id or cursor
                        if kind == "resync":
                            yield {**RESYNC, **json.loads(data)}
                        elif kind != "end":  # A reader without permission learns it from the next connection.
                            yield json.loads(data)
            except (OSError, http.client.HTTPException):
                pass
            except Problem as problem:
                if problem.status < 500:
                    raise
            time.sleep(0.5)


def server_sent_events(lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, id, data) of each event of a text/event-stream, without comments and empty events."""
    kind, id, data = "", "", []
    for raw in lines:
        name, _, value = raw.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            id = value
        elif name == "data":
            data.append(value)
        elif not name and not value and data:
            yield kind, id, "\n".join(data)
            kind, data = "", []
