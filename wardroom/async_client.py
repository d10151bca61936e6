"""The same REST client with asyncio, on httpx (the extra `async` of the package).

async with AsyncClient("https://wardroom.example", "wr_key_...") as client:
    session = await client.spawn("# greet")
    async for event in client.events(session["id"]):
        print(event["type"])
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from wardroom import client as sync
from wardroom.calls.lists import Lists
from wardroom.calls.requests import LONGEST_WAIT, at, given
from wardroom.client import TERMINAL_STATES, Calls, End, Event, Problem, ServerSentEvents
from wardroom.decision import Decision, Facts
from wardroom.extras import require
from wardroom.identity import is_loopback

if TYPE_CHECKING:
    import httpx
else:
    httpx = require("httpx", "async")

# Each held call and each stream is a connection. httpx waits for a free one without a limit of this number.
MOST_CONNECTIONS = 500


class AsyncClient(Calls[Awaitable[dict[str, Any]]], Lists[AsyncIterator[dict[str, Any]]]):
    """One API key's view of one Wardroom. Close it, or use it in `async with`.

    A lost connection raises ConnectionError.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 35.0) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=timeout,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
            trust_env=not is_loopback(urlsplit(self.url).hostname or ""),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def wait_session(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Poll until the session has ended. Raise TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while (session := await self.session(id))["status"] not in TERMINAL_STATES:
                await asyncio.sleep(0.2)
        return session

    async def ask(
        self, session: str, question: str, *, mode: str = "query", timeout: float = LONGEST_WAIT, **fields: Any
    ) -> dict[str, Any]:
        """Ask a session and wait for its answer. See `Client.ask`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        order = {"question": question, "mode": mode, "timeout_secs": min(timeout, LONGEST_WAIT), **fields}
        current = await self._repeated(at("sessions", session, "ask"), order, secrets.token_urlsafe(24))
        while current["status"] == "pending" and (left := until - loop.time()) > 0:
            current = await self.asked(session, current["ask_id"], timeout=left)
        return current

    async def consume_approval(
        self, decision: Decision, claim: str | None = None, facts: Facts = None
    ) -> dict[str, Any]:
        """Consume the one execution of an approved decision. See `Client.consume_approval`."""
        path, body = sync.consumption(decision, claim, facts)
        try:
            return dict((await self._repeated(path, body))["arguments"] or {})
        except Problem as problem:
            raise sync.not_consumed(problem) from problem

    def events(self, session: str, after: int | None = None) -> AsyncIterator[Event]:
        """Yield the events of a session over any number of connections, none twice. See `Client.events`."""
        return self._stream(at("sessions", session, "events"), after)

    def feed(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield the events of the whole project. See `Client.feed`."""
        return self._stream("feed", after)

    async def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        content = None if body is None else sync.encoded(body)
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        if response.is_error:
            raise Problem.read(response.status_code, response.content)
        answer: dict[str, Any] = json.loads(response.content) if response.content else {}
        return answer

    async def _repeated(self, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        """Post, and once more if the connection was lost: the call is the same call by its key or its claim."""
        try:
            return await self.post(path, body, key)
        except ConnectionError:
            return await self.post(path, body, key)

    async def _pages(self, path: str, query: dict[str, Any], position: str = "cursor") -> AsyncIterator[dict[str, Any]]:
        query = given(**query)
        while True:
            page = await self.get(path, query)
            for each in page["results"]:
                yield each
            if not page.get("next"):
                return
            query = {**query, position: page["next"]}

    async def _stream(self, path: str, after: int | None) -> AsyncIterator[Event]:
        cursor = None if after is None else str(after)
        while True:
            try:
                async with self._http.stream("GET", path, headers=sync.stream_headers(cursor), timeout=60) as response:
                    if response.is_error:
                        raise Problem.read(response.status_code, await response.aread())
                    reading = ServerSentEvents()
                    async for line in response.aiter_lines():
                        event = reading.feed(line)
                        cursor = reading.cursor or cursor
                        if event is not None:
                            yield event
                        if isinstance(event, End):
                            return
            except httpx.TransportError:
                pass
            except Problem as problem:
                if problem.status < 500:
                    raise
            await asyncio.sleep(0.5)
