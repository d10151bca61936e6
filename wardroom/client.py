"""Wardroom's REST for programs: spawn, watch, message, answer. Standard library only.

    client = Client("https://wardroom.example", "wr_key_...")
    session = client.spawn("# greet\\necho hello")
    for event in client.events(session["id"]):
        print(event["type"])

Every method returns the JSON of the answer. A refusal raises Problem. `wardroom.async_client` is the same with asyncio.
"""

import hashlib
import hmac
import http.client
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from wardroom.calls.approvals import ApprovalCalls
from wardroom.calls.grants import GrantCalls
from wardroom.calls.lists import Lists
from wardroom.calls.mailboxes import MailboxCalls
from wardroom.calls.plans import PlanCalls
from wardroom.calls.requests import LONGEST_WAIT, Answer, at, given
from wardroom.calls.rules import RuleCalls
from wardroom.calls.sessions import SessionCalls
from wardroom.calls.webhooks import WebhookCalls
from wardroom.decision import AlreadyConsumed, Decision, Facts, NotConsumed
from wardroom.identity import is_loopback

TERMINAL_STATES = frozenset({"completed", "error", "timeout", "cancelled", "skipped"})


class Event(dict[str, Any]):
    """One event of a stream, as its JSON."""


class Resync(Event):
    """Events are lost to this reader: its cursor is older than the stored events. Take a snapshot.

    Later events continue from the `cursor` of this one.
    """


class End(Event):
    """The last event of a stream: its credential is no longer valid. The `reason` is in the payload."""


#: The members that an event of the stream itself has beside its own.
_OF_STREAM: dict[str, Any] = {
    "session": None,
    "attempt": None,
    "seq": None,
    "source": "wardroom",
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

    @classmethod
    def read(cls, status: int, raw: bytes) -> "Problem":
        """Return the problem of an answer, also of one that is no problem document."""
        try:
            body = json.loads(raw)
        except ValueError:
            body = raw.decode(errors="replace")[:500]
        return cls(status, body if isinstance(body, dict) else {"detail": body})


class Calls(
    ApprovalCalls[Answer],
    RuleCalls[Answer],
    GrantCalls[Answer],
    PlanCalls[Answer],
    SessionCalls[Answer],
    MailboxCalls[Answer],
    WebhookCalls[Answer],
):
    """The calls that are one request, for `Client` and `AsyncClient`. Each returns an `Answer`."""

    _key: str

    def request_id(self, name: str) -> str:
        """Return an id for a request that others cannot guess, and that the next process with this key repeats."""
        return hmac.new(self._key.encode(), name.encode(), hashlib.sha256).hexdigest()[:40]


class Client(Calls[dict[str, Any]], Lists[Iterator[dict[str, Any]]]):
    """One API key's view of one Wardroom."""

    def __init__(self, url: str, key: str, *, timeout: float = 35.0) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._timeout = timeout
        local = is_loopback(urlsplit(self.url).hostname or "")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*handlers)

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

    def ask(
        self, session: str, question: str, *, mode: str = "query", timeout: float = LONGEST_WAIT, **fields: Any
    ) -> dict[str, Any]:
        """Ask a session and wait for its answer. `status` is `answered`, `pending` after `timeout` seconds, or `ended`.

        A lost connection does not lose the question. It is repeated once, under the same key, so it remains the same
        question.
        """
        until = time.monotonic() + timeout
        order = {"question": question, "mode": mode, "timeout_secs": min(timeout, LONGEST_WAIT), **fields}
        current = self._repeated(at("sessions", session, "ask"), order, secrets.token_urlsafe(24))
        while current["status"] == "pending" and (left := until - time.monotonic()) > 0:
            current = self.asked(session, current["ask_id"], timeout=left)
        return current

    def consume_approval(self, decision: Decision, claim: str | None = None, facts: Facts = None) -> dict[str, Any]:
        """Consume the one execution of an approved decision, and return the arguments to run.

        `claim` is a secret of this executor: the same claim gets the same execution again. `facts` are the
        preconditions as they are now, each `{name, value_hash}`. Raises AlreadyConsumed, and NotConsumed, with the code
        `stale` when a fact differs.
        """
        path, body = consumption(decision, claim, facts)
        try:
            return dict(self._repeated(path, body)["arguments"] or {})
        except Problem as problem:
            raise not_consumed(problem) from problem

    # --- events ------------------------------------------------------------------------------------

    def events(self, session: str, after: int | None = None) -> Iterator[Event]:
        """Yield the events of a session over any number of connections, none twice.

        A `Resync` means that events are lost to this reader. An `End` is the last one: the key is no longer valid.
        """
        return self._stream(at("sessions", session, "events"), after)

    def feed(self, after: int | None = None) -> Iterator[Event]:
        """Yield the events of the whole project. `Resync` and `End` as for one session."""
        return self._stream("feed", after)

    # --- requests ----------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        with self._open(method, path, body, headers, self._timeout) as response:
            raw = response.read()
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer

    def _repeated(self, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        """Post, and once more if the connection was lost: the call is the same call by its key or its claim."""
        try:
            return self.post(path, body, key)
        except (OSError, http.client.HTTPException):
            return self.post(path, body, key)

    def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str], timeout: float
    ) -> "http.client.HTTPResponse":
        request = urllib.request.Request(  # noqa: S310 - the caller chose the address.
            f"{self.url}/api/v1/{path}",
            data=None if body is None else encoded(body),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **headers},
            method=method,
        )
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            raise Problem.read(error.code, error.read()) from None
        return response

    def _pages(self, path: str, query: dict[str, Any], position: str = "cursor") -> Iterator[dict[str, Any]]:
        query = given(**query)
        while True:
            page = self.get(path, query)
            yield from page["results"]
            if not (following := page.get("next")):
                return
            query = {**query, position: following}

    def _stream(self, path: str, after: int | None) -> Iterator[Event]:
        cursor = None if after is None else str(after)
        while True:
            try:
                with self._open("GET", path, None, stream_headers(cursor), 60.0) as response:
                    reading = ServerSentEvents()
                    for line in response:
                        event = reading.feed(line.decode())
                        cursor = reading.cursor or cursor
                        if event is not None:
                            yield event
                        if isinstance(event, End):
                            return
            except (OSError, http.client.HTTPException):
                pass
            except Problem as problem:
                if problem.status < 500:
                    raise
            time.sleep(0.5)


class ServerSentEvents:
    """Reads a text/event-stream line by line (WHATWG HTML, 9.2). `cursor` is the latest `id`."""

    def __init__(self) -> None:
        self.cursor = ""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take one line. Return the event that it completes. Comments and empty events are left out."""
        name, _, value = line.rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "id":
            self.cursor = value
        elif name == "data":
            self._data.append(value)
        elif not name and not value and self._data:
            kind, told = self._kind, json.loads("\n".join(self._data))
            self._kind, self._data = "", []
            if kind == "resync":
                return Resync({**_OF_STREAM, "type": kind, **told})
            return End({**_OF_STREAM, "type": kind, "payload": told}) if kind == "end" else Event(told)
        return None


def stream_headers(cursor: str | None) -> dict[str, str]:
    """Return the headers that ask for a stream from a cursor on."""
    return {"Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}


def encoded(body: Any) -> bytes:
    """Return a body as JSON. A lone surrogate is for Wardroom to refuse."""
    return json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")


def consumption(decision: Decision, claim: str | None, facts: Facts) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of the call that consumes a decision. Raises NotConsumed unless it is approved."""
    if not decision.approved or not decision.approval_id:
        raise NotConsumed("not-approved", f"the decision is {decision.state}")
    path = at("approvals", decision.approval_id, "consume")
    body: dict[str, Any] = {"digest": decision.digest, "claim": claim or secrets.token_urlsafe(24)}
    return path, body | ({"preconditions": facts} if facts else {})


def not_consumed(problem: Problem) -> Exception:
    """Return what a refused consumption raises."""
    detail = str(problem.body.get("detail", ""))
    if problem.status != 409:
        return problem
    return AlreadyConsumed("consumed", detail) if problem.type == "consumed" else NotConsumed(problem.type, detail)
