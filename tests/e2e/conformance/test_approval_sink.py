"""Programs that wait for answers through a sink, against a real server, with threads and with asyncio."""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.servers.stack import House
from tests.waiting import wait_until, wait_until_async
from wardroom import ApprovalSink, AsyncApprovalSink, AsyncClient, Client
from wardroom.client import End, Problem
from wardroom.decision import AlreadyConsumed

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


@pytest.fixture
def sink(client: Client) -> Iterator[ApprovalSink]:
    with ApprovalSink(client) as running:
        yield running


@pytest.fixture
async def asynchronous(house: House) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(house.url, house.key) as running:
        yield running


def ask(client: Client, **fields: Any) -> dict[str, Any]:
    return client.ask_approval("shell", {"command": "ls"}, permission="execute", resource="ls", **fields)


def test_every_waiter_for_one_request_gets_the_answer(client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    waits = [sink.wait_for_approval(asked["id"], 60) for _ in range(5)]
    assert sink.waiter_count == 5
    wait_until(lambda: client.approval(asked["id"])["waiters"] == 1, why="the waits share one held call")
    client.decide(asked, "approve")
    decisions = [wait.result() for wait in waits]
    assert [decision.state for decision in decisions] == ["approved"] * 5
    assert sink.waiter_count == 0
    assert client.consume_approval(decisions[0]) == {"command": "ls"}
    with pytest.raises(AlreadyConsumed):
        client.consume_approval(decisions[1])


def test_an_answer_before_the_wait_is_handed_over(client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    client.decide(asked, "deny", message="not today")
    decision = sink.wait_for_approval(asked["id"], 30).result()
    assert (decision.state, decision.message) == ("denied", "not today")


def test_an_edit_is_what_may_run(client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    client.decide(asked, "edit", arguments={"command": "ls -l"})
    decision = sink.wait_for_approval(asked["id"], 30).result()
    assert (decision.approved, decision.arguments) == (True, {"command": "ls -l"})
    assert client.consume_approval(decision) == {"command": "ls -l"}


def test_a_deadline_and_a_closed_sink_are_pending(client: Client) -> None:
    asked = ask(client)
    sink = ApprovalSink(client)
    assert sink.wait_for_approval(asked["id"], 0.2).result().state == "pending"
    assert sink.waiter_count == 0
    wait = sink.wait_for_approval(asked["id"], 600)
    sink.close()
    assert wait.result().state == "pending"
    assert sink.wait_for_approval(asked["id"], 600).result().state == "pending"


def test_a_server_that_is_away_is_waited_for(house: House, client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    wait = sink.wait_for_approval(asked["id"], 120)
    house.kill("web1")
    assert sink.wait_for_approval(asked["id"], 1).result().state == "pending"
    house.start("web1")
    client.decide(asked, "approve")
    assert wait.result().approved


def test_a_request_that_is_not_there_is_a_problem(sink: ApprovalSink) -> None:
    with pytest.raises(Problem) as refusal:
        sink.wait_for_approval(str(uuid4()), 30).result()
    assert refusal.value.status == 404


@pytest.mark.parametrize(("action", "may_run"), [("deny_locally", False), ("proceed", True)])
def test_a_fallback_is_recorded_and_is_no_decision(
    client: Client, sink: ApprovalSink, action: Any, may_run: bool
) -> None:
    asked = ask(client)
    decision = sink.outcome(asked["id"], 0.2, on_timeout=action)
    assert (decision.state, decision.fallback, decision.may_run) == ("pending", action, may_run)
    assert not decision.approved
    current = client.approval(asked["id"])
    assert (current["status"], current["fallback"], current["decision"]) == ("pending", action, None)


def test_an_answer_at_the_last_moment_wins_over_the_fallback(client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    client.decide(asked, "deny")

    class Late(ApprovalSink):
        def wait_for_approval(self, approval_id: str, deadline: float) -> Any:
            return super().wait_for_approval(approval_id, -1)

    assert Late(client).outcome(asked["id"], 5, on_timeout="proceed").state == "denied"


def test_nothing_proceeds_without_a_record(house: House, client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    house.kill("web1")
    decision = sink.outcome(asked["id"], 0.2, on_timeout="proceed")
    house.start("web1")
    assert (decision.state, decision.fallback, decision.may_run) == ("pending", None, False)
    assert client.approval(asked["id"])["fallback"] is None


def test_a_wait_goes_on_over_its_deadline(client: Client, sink: ApprovalSink) -> None:
    asked = ask(client)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(sink.outcome(asked["id"], 0.2)))
    waiting.start()
    wait_until(lambda: client.approval(asked["id"])["waiters"] >= 1)
    client.decide(asked, "approve")
    waiting.join(30)
    assert found[0].approved


def test_the_feed_reaches_the_sink_and_wakes_only_those_who_wait(client: Client) -> None:
    policies: list[dict[str, Any]] = []
    with ApprovalSink(client, on_policy_changed=policies.append) as sink:
        asked = ask(client)
        wait = sink.wait_for_approval(asked["id"], 60)
        sink.deliver({"type": "policy_changed", "payload": {"version": 2}})
        sink.deliver({"type": "approval_decided", "payload": {"approval_id": str(uuid4())}})
        assert (policies[0]["payload"], sink.waiter_count) == ({"version": 2}, 1)
        client.decide(asked, "approve")
        assert wait.result().approved


END_SOON = ("create_api_key", "--name", "ends soon", "--scope", "feed:read", "--user")
END_KEYS = """
from accounts import credentials
from accounts.actors import Actor
from accounts.models import Credential
for key in Credential.objects.filter(name="ends soon"): credentials.end(key.pk, Actor.system("test"))
"""


def test_the_last_event_of_a_stream_is_an_end_when_its_key_ends(house: House, client: Client) -> None:
    key = house.manage(*END_SOON, house.admin_name).split()[-1]
    ask(client)
    feed = Client(house.url, key).feed(after=0)
    next(feed)
    house.manage("shell", "-c", END_KEYS)
    last = collections.deque(feed, maxlen=1).pop()
    assert isinstance(last, End) and last["payload"]["reason"]


async def test_the_same_with_asyncio(client: Client, asynchronous: AsyncClient) -> None:
    async with AsyncApprovalSink(asynchronous) as sink:
        asked = await asynchronous.ask_approval("shell", {"command": "ls"}, permission="execute", resource="ls")
        waits = [sink.wait_for_approval(asked["id"], 60) for _ in range(20)]
        assert sink.waiter_count == 20
        await asynchronous.decide(asked, "approve")
        decisions = await asyncio.gather(*waits)
        assert {decision.state for decision in decisions} == {"approved"}
        assert sink.waiter_count == 0
        assert await asynchronous.consume_approval(decisions[0]) == {"command": "ls"}
        with pytest.raises(AlreadyConsumed):
            await asynchronous.consume_approval(decisions[1])


async def test_asyncio_waits_end_as_pending(asynchronous: AsyncClient) -> None:
    sink = AsyncApprovalSink(asynchronous)
    asked = await asynchronous.ask_approval("shell", {}, permission="execute", resource="ls")
    assert (await sink.wait_for_approval(asked["id"], 0.1)).state == "pending"
    decision = await sink.outcome(asked["id"], 0.1, on_timeout="deny_locally")
    assert (decision.state, decision.fallback, decision.may_run) == ("pending", "deny_locally", False)
    left, closed = sink.wait_for_approval(asked["id"], 60), sink.wait_for_approval(asked["id"], 60)
    left.cancel()
    await asyncio.wait([left])
    assert sink.waiter_count == 1
    await sink.close()
    assert (await closed).state == "pending"
    with pytest.raises(Problem):
        await AsyncApprovalSink(asynchronous).wait_for_approval(str(uuid4()), 30)


async def test_an_asyncio_wait_outlives_its_server(house: House, client: Client, asynchronous: AsyncClient) -> None:
    async with AsyncApprovalSink(asynchronous) as sink:
        asked = await asynchronous.ask_approval("shell", {}, permission="execute", resource="ls")
        wait = sink.wait_for_approval(asked["id"], 120)
        await wait_until_async(lambda: client.approval(asked["id"])["waiters"] == 1)
        house.kill("web1")
        house.start("web1")
        client.decide(asked, "approve")
        assert (await wait).approved


async def test_asyncio_streams_and_pages(client: Client, asynchronous: AsyncClient) -> None:
    session = await asynchronous.spawn("x", runner="external")
    async for event in asynchronous.events(session["id"]):
        assert event["type"] == "session_created"
        break
    found = [each["id"] async for each in asynchronous.sessions(parent=session["id"], limit=1)]
    assert found == []
    await asynchronous.cancel(session["id"])
    assert (await asynchronous.wait_session(session["id"], 60))["status"] == "cancelled"
