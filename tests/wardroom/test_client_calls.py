"""The clients have a call for every path of the OpenAPI document."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any

import pytest
import yaml

from tests.house.sources import ROOT
from wardroom import AsyncClient, Client
from wardroom.decision import Decision

#: Paths without a call, and why.
WITHOUT_A_CALL = {
    ("GET", "schema"): "the document itself: a generator of clients reads it, no program",
    ("POST", "sessions/{}/attempts/{}/alive"): "only the supervisor of a process reports it, by wardroom.reports",
    ("POST", "sessions/{}/attempts/{}/exited"): "only the supervisor of a process reports it, by wardroom.reports",
}
#: Values for parameters whose type or name wants more than a word.
VALUES: dict[str, Any] = {
    "approval": {"id": "7", "digest": "d", "version": 1},
    "approvals": [{"id": "7", "digest": "d", "version": 1}],
    "arguments": {},
    "decision": Decision("r", "approved", approval_id="7", digest="d"),
    "number": 7,
    "rule": {},
    "steps": [],
    "timeout": 1.0,
}
#: Where such a name means another thing.
WORDS: dict[str, dict[str, Any]] = {"decide": {"decision": "approve"}, "batch_decide": {"decision": "approve"}}
APPROVED = {"results": [], "next": None, "status": "completed", "arguments": {}, "id": "7"}


class Enough(Exception):
    """The recording client has seen the request."""


@functools.cache
def operations() -> set[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = yaml.load((ROOT / "docs/openapi.yaml").read_text(), yaml.CSafeLoader)["paths"]
    return {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1/")))
        for path, item in paths.items()
        for method in item
        if method in ("get", "post", "put", "delete", "patch")
    }


def matching(method: str, path: str) -> set[tuple[str, str]]:
    """Return the operation that a request reaches. A literal path wins over one with a parameter."""
    steps = path.partition("?")[0].split("/")
    found = [
        (verb, known)
        for verb, known in operations()
        if verb == method
        and len(known.split("/")) == len(steps)
        and all(one in ("{}", other) for one, other in zip(known.split("/"), steps, strict=True))
    ]
    return set(sorted(found, key=lambda each: each[1].count("{}"))[:1])


class Recording(Client):
    """Notes each request, and sends none."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.seen: list[tuple[str, str]] = []

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        self.seen.append((method, path))
        return APPROVED

    def _open(self, method: str, path: str, body: Any, headers: dict[str, str], timeout: float) -> HTTPResponse:
        self.seen.append((method, path))
        raise Enough


class AsyncRecording(AsyncClient):
    """The same with asyncio."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.seen: list[tuple[str, str]] = []
        self._http.stream = self._note  # type: ignore[method-assign, assignment]

    async def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        self.seen.append((method, path))
        return APPROVED

    def _note(self, method: str, path: Any, **options: Any) -> Any:
        self.seen.append((method, path))
        raise Enough


def public_calls(client: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, call in inspect.getmembers(client, inspect.ismethod):
        if not name.startswith("_") and name not in ("get", "post", "put", "delete", "close"):
            yield name, call


def arguments_for(name: str, call: Callable[..., Any]) -> dict[str, Any]:
    """Return a value for each parameter that has no default."""
    wanted = inspect.signature(call).parameters.values()
    needed = [each for each in wanted if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    values = VALUES | WORDS.get(name, {})
    return {each.name: values.get(each.name, "7") for each in needed}


async def requests_of(client: Any) -> list[tuple[str, str]]:
    for name, call in public_calls(client):
        with suppress(Enough):
            found = call(**arguments_for(name, call))
            if inspect.isawaitable(found):
                await found
            elif isinstance(found, AsyncIterator):
                [each async for each in found]
            elif isinstance(found, Iterator):
                list(found)
    return list(client.seen)


@pytest.mark.parametrize("kind", [Recording, AsyncRecording])
async def test_every_path_of_the_document_has_a_call(kind: type[Recording | AsyncRecording]) -> None:
    reached = [(request, matching(*request)) for request in await requests_of(kind())]
    assert [request for request, operation in reached if not operation] == [], "a call to a path that does not exist"
    assert operations() - set().union(*(found for _, found in reached)) == set(WITHOUT_A_CALL)


def test_both_clients_have_the_same_calls() -> None:
    calls = [dict(public_calls(kind())) for kind in (Recording, AsyncRecording)]
    assert {name for name, _ in calls[0].items()} == {name for name, _ in calls[1].items()}
    for name, call in calls[0].items():
        mine, theirs = (list(inspect.signature(each).parameters) for each in (call, calls[1][name]))
        assert mine == theirs, name


def test_the_id_of_a_request_is_the_same_in_the_next_process_and_needs_the_key() -> None:
    first, second = Client("http://127.0.0.1:1", "key"), AsyncClient("http://127.0.0.1:1", "key")
    assert first.request_id("deploy 7") == second.request_id("deploy 7")
    assert first.request_id("deploy 7") != first.request_id("deploy 8")
    assert first.request_id("deploy 7") != Client("http://127.0.0.1:1", "other").request_id("deploy 7")


def test_an_id_with_a_slash_is_one_step_of_the_path() -> None:
    client = Recording()
    client.asked("7", "a/b?c")
    assert client.seen == [("GET", "sessions/7/asks/a%2Fb%3Fc?timeout=0")]
