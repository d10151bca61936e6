"""Functions behind `@require_approval`, and people as a tool, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.servers.stack import House
from tests.waiting import wait_until, wait_until_async
from wardroom import AsyncClient, Child, Client, human_as_tool, require_approval
from wardroom.client import Problem
from wardroom.gate import ApprovalCancelled, ApprovalDenied, ApprovalPending, ApprovalUnusable
from wardroom.sync import Child as SyncChild

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]
#: The request asked by a call, as `on_asked` gets it.
Asked = list[dict[str, Any]]


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as running:
        yield running


def gated(client: Client, **options: Any) -> tuple[Callable[..., str], list[tuple[str, int]], Asked]:
    ran: list[tuple[str, int]] = []
    asked: Asked = []

    @require_approval(client, permission="execute", resource="{host}", on_asked=asked.append, **options)
    def deploy(host: str, count: int = 1) -> str:
        ran.append((host, count))
        return f"deployed to {host}"

    return deploy, ran, asked


def decided(client: Client, asked: Asked, decision: str, **fields: Any) -> None:
    wait_until(lambda: asked)
    client.decide(client.approval(asked.pop()["id"]), decision, **fields)


def test_a_function_runs_after_an_approval_of_its_arguments(client: Client, threads: ThreadPoolExecutor) -> None:
    deploy, ran, asked = gated(client, risk="high", question="May I?")
    call = threads.submit(deploy, "web1")
    shown = wait_until(lambda: asked)[0]
    assert (shown["tool_name"], shown["resource"], shown["risk"]) == ("deploy", "web1", "high")
    assert (shown["arguments"], shown["question"], ran) == ({"host": "web1", "count": 1}, "May I?", [])
    decided(client, asked, "approve")
    assert call.result(30) == "deployed to web1"
    assert client.approval(shown["id"])["outcome"] == "ran"


@pytest.mark.parametrize(("error", "outcome"), [(OSError("no route"), "failed"), (KeyboardInterrupt(), "unknown")])
def test_the_outcome_of_a_run_is_reported(client: Client, error: BaseException, outcome: str) -> None:
    asked: Asked = []

    def approve(approval: dict[str, Any]) -> None:
        asked.append(client.decide(approval, "approve"))

    @require_approval(client, on_asked=approve)
    def deploy() -> None:
        raise error

    with pytest.raises(type(error)):
        deploy()
    assert client.approval(asked[0]["id"])["outcome"] == outcome
    notes = client.approval_outcome(asked[0]["id"])["notes"]
    assert type(error).__name__ in notes[0]["detail"]


def test_edited_arguments_are_the_ones_that_run(client: Client, threads: ThreadPoolExecutor) -> None:
    deploy, ran, asked = gated(client)
    call = threads.submit(deploy, "web1", 9)
    decided(client, asked, "edit", arguments={"host": "web2"})
    call.result(30)
    assert ran == [("web2", 1)]


def test_an_edit_that_does_not_fit_is_not_consumed(client: Client, threads: ThreadPoolExecutor) -> None:
    deploy, ran, asked = gated(client)
    call = threads.submit(deploy, "web1")
    shown = wait_until(lambda: asked)[0]
    decided(client, asked, "edit", arguments={"hots": "web2"})
    with pytest.raises(ApprovalUnusable, match="hots"):
        call.result(30)
    assert (ran, client.approval(shown["id"])["consumed_at"]) == ([], None)


def test_a_denial_is_an_exception_or_a_text_with_the_words_of_the_person(
    client: Client, threads: ThreadPoolExecutor
) -> None:
    for options in ({}, {"refused": "return"}):
        deploy, ran, asked = gated(client, **options)
        call: Future[str] = threads.submit(deploy, "web1")
        decided(client, asked, "deny", message="not on a Friday")
        text = call.result(30) if options else str(call.exception(30))
        assert (text, ran) == ("The request was denied: not on a Friday", [])
        assert options or isinstance(call.exception(30), ApprovalDenied)


def test_a_timeout_is_pending_and_the_next_call_with_its_id_goes_on(client: Client) -> None:
    deploy, ran, asked = gated(client, timeout=0.1, request_id=lambda arguments: arguments["host"])
    host = uuid4().hex
    with pytest.raises(ApprovalPending, match="neither consent nor refusal"):
        deploy(host)
    first = asked[0]["id"]
    decided(client, asked, "approve")
    assert (deploy(host), asked[0]["id"], ran) == (f"deployed to {host}", first, [(host, 1)])
    with pytest.raises(ApprovalUnusable, match="another execution") as refusal:
        deploy(host)
    assert (refusal.value.code, len(ran)) == ("consumed", 1)
    with pytest.raises(ApprovalUnusable, match="not the one"):
        deploy(host, 2)


def test_a_fact_that_changes_while_people_look_stops_the_run(client: Client, threads: ThreadPoolExecutor) -> None:
    head = ["aaa"]
    fact = {"name": "head", "shown": "the head"}
    deploy, ran, asked = gated(client, facts=lambda arguments: [{**fact, "value_hash": head[0]}])
    call = threads.submit(deploy, "web1")
    wait_until(lambda: asked)
    head[0] = "bbb"
    decided(client, asked, "approve")
    with pytest.raises(ApprovalUnusable, match="facts") as refusal:
        call.result(30)
    assert (refusal.value.code, ran) == ("stale", [])


def test_a_withdrawn_request_runs_nothing(client: Client, threads: ThreadPoolExecutor) -> None:
    deploy, ran, asked = gated(client)
    call = threads.submit(deploy, "web1")
    client.withdraw_approval(wait_until(lambda: asked)[0]["id"])
    with pytest.raises(ApprovalCancelled):
        call.result(30)
    assert ran == []


def test_a_person_is_a_tool(client: Client, threads: ThreadPoolExecutor) -> None:
    asked: Asked = []
    ask_human = human_as_tool(client, on_asked=asked.append)
    call = threads.submit(ask_human, "Which host?")
    assert wait_until(lambda: asked)[0]["question"] == "Which host?"
    decided(client, asked, "respond", message="web2, please")
    assert call.result(30) == "web2, please"
    form = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}
    call = threads.submit(human_as_tool(client, on_asked=asked.append, form=form), "Which host?")
    wait_until(lambda: asked)
    with pytest.raises(Problem, match="host"):
        client.decide(asked[0], "respond", response={})
    decided(client, asked, "respond", response={"host": "web2"})
    assert call.result(30) == {"host": "web2"}
    call = threads.submit(ask_human, "Which host?")
    decided(client, asked, "deny")
    assert isinstance(call.exception(30), ApprovalDenied)


async def test_the_same_with_asyncio_and_for_a_child(house: House, client: Client, spawn: Spawn) -> None:
    session = spawn()
    async with AsyncClient(house.url, house.key) as asynchronous, Child(session.identity) as child:
        for each in (asynchronous, child):
            asked: Asked = []

            @require_approval(lambda each=each: each, permission="execute", on_asked=asked.append, expires_in_secs=600)
            async def deploy(host: str) -> str:
                return f"deployed to {host}"

            waiting = asyncio.create_task(deploy("web1"))
            query = {"session": session.id} if each is child else {}
            shown = await wait_until_async(lambda query=query: pending(client, "deploy", **query))
            await asyncio.to_thread(client.decide, shown, "edit", arguments={"host": "web2"})
            assert await waiting == "deployed to web2"
            await wait_until_async(lambda id=shown["id"]: client.approval(id)["outcome"] == "ran")

            waiting = asyncio.create_task(human_as_tool(each)("Which host?"))
            shown = await wait_until_async(lambda query=query: pending(client, "ask_human", **query))
            await asyncio.to_thread(client.decide, shown, "respond", message="web3")
            assert await waiting == "web3"
        await child.complete("done")


def test_the_same_for_a_child_without_asyncio(client: Client, spawn: Spawn, threads: ThreadPoolExecutor) -> None:
    session = spawn()
    head = ["aaa"]
    with SyncChild(session.identity) as child:

        @require_approval(child, facts=lambda arguments: [{"name": "head", "value_hash": head[0], "shown": "it"}])
        def deploy(host: str) -> str:
            return f"deployed to {host}"

        call = threads.submit(deploy, "web1")
        shown = wait_until(lambda: pending(client, "deploy", session=session.id))
        client.decide(shown, "approve")
        assert call.result(30) == "deployed to web1"
        wait_until(lambda: client.approval(shown["id"])["outcome"] == "ran")

        call = threads.submit(deploy, "web1")
        shown = wait_until(lambda: pending(client, "deploy", session=session.id))
        head[0] = "bbb"
        client.decide(shown, "approve")
        with pytest.raises(ApprovalUnusable, match="facts"):
            call.result(30)

        call = threads.submit(human_as_tool(child), "Which host?")
        client.decide(wait_until(lambda: pending(client, "ask_human", session=session.id)), "respond", message="web3")
        assert call.result(30) == "web3"
        child.complete("done")


def pending(client: Client, tool: str, **query: Any) -> dict[str, Any] | None:
    return next((each for each in client.approvals(status="pending", **query) if each["tool_name"] == tool), None)
