"""Waiting for an answer by a held call: handed over at once, never an answer by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions, waiting
from approvals.decision_validation import Answer
from approvals.models import Approval, Waiter
from approvals.selectors import waiter_count
from config.asgi import application
from core.concurrency.threadpool import run_in_threadpool
from core.db.clock import clock_at
from orchestration.maintenance import retention
from tests.approvals.conftest import NOON, Asked
from tests.waiting import wait_until_async

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def wait() -> AsyncIterator[Any]:
    """Call `GET approvals/{id}/wait` on the ASGI application."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://127.0.0.1", timeout=30
    ) as client:

        async def call(approval_id: str, headers: Any, **params: Any) -> Any:
            return await client.get(f"/api/v1/approvals/{approval_id}/wait", headers=headers, params=params)

        yield call


@pytest.fixture
def no_poll(timings: Any) -> None:
    """Move the poll and the end of a held call out of reach, so that an early answer came by a wake-up."""
    timings(hub_poll_secs=60, held_call_secs=25)


@pytest.fixture
def deny(project: Project, alice: User) -> Any:
    async def answer(approval: Any) -> None:
        actor = Actor.of_user(alice)
        await run_in_threadpool(decisions.decide, project.pk, approval.id, Answer(decision="deny"), actor, "admin")

    return answer


@pytest.fixture
def mine(bearer: Callable[..., dict[str, str]], project: Project, session: UUID) -> Any:
    return bearer(project, session=session)


async def test_an_answer_that_came_before_the_wait_is_handed_over_at_once(
    wait: Any, approved: Asked, mine: Any, no_poll: Any
) -> None:
    approval = await run_in_threadpool(approved, via="rest")
    started = time.monotonic()
    answer = await wait(approval.id, mine)
    assert time.monotonic() - started < 20
    assert (answer.status_code, answer.json()["status"], answer.json()["timed_out"]) == (200, "approved", False)
    assert (await Approval.objects.aget()).delivered_at


async def test_an_answer_ends_the_wait_within_a_moment(
    wait: Any, asked: Asked, mine: Any, deny: Any, no_poll: Any
) -> None:
    approval = await run_in_threadpool(asked, via="rest")
    waits = asyncio.create_task(wait(approval.id, mine))
    await wait_until_async(Waiter.objects.aexists)
    started = time.monotonic()
    await deny(approval)
    answer = (await waits).json()
    assert time.monotonic() - started < 20
    assert (answer["status"], answer["timed_out"]) == ("denied", False)
    assert not await Waiter.objects.aexists()


async def test_two_waiters_both_get_it(
    wait: Any, asked: Asked, mine: Any, deny: Any, bearer: Callable[..., dict[str, str]], project: Project, alice: User
) -> None:
    approval = await run_in_threadpool(asked, via="rest")
    key = await run_in_threadpool(bearer, project, alice)
    waits = [asyncio.create_task(wait(approval.id, headers)) for headers in (mine, key)]
    await wait_until_async(_two_waiters)
    shown = await wait(approval.id, key, timeout=0)
    assert shown.json()["waiters"] == 2
    await deny(approval)
    assert [answer.json()["status"] for answer in await asyncio.gather(*waits)] == ["denied", "denied"]


async def _two_waiters() -> bool:
    return await Waiter.objects.acount() == 2


async def test_a_wait_that_ends_says_pending_and_writes_nothing(wait: Any, asked: Asked, mine: Any) -> None:
    approval = await run_in_threadpool(asked, via="rest")
    answer = (await wait(approval.id, mine, timeout=0.3)).json()
    assert (answer["status"], answer["timed_out"]) == ("pending", True)
    approval = await Approval.objects.aget()
    assert (approval.status, approval.delivered_at) == ("pending", None)


async def test_a_deadline_that_passes_during_the_wait_is_expired_not_denied(
    wait: Any, asked: Asked, mine: Any, timings: Any
) -> None:
    timings(hub_poll_secs=0.1)
    approval = await run_in_threadpool(asked, via="rest", expires_in_secs=1)
    answer = (await wait(approval.id, mine, timeout=5)).json()
    assert (answer["status"], answer["timed_out"], answer["decision"]) == ("expired", False, None)


async def test_a_withdrawal_ends_every_wait_with_its_reason(
    wait: Any, asked: Asked, mine: Any, project: Project, session: UUID, bearer: Any, alice: User, no_poll: Any
) -> None:
    approval = await run_in_threadpool(asked, via="rest")
    key = await run_in_threadpool(bearer, project, alice)
    waits = [asyncio.create_task(wait(approval.id, headers)) for headers in (mine, key)]
    await wait_until_async(_two_waiters)
    await run_in_threadpool(decisions.withdraw, project.pk, approval.id, Actor.of_user(alice), "found another way")
    for answer in await asyncio.gather(*waits):
        told = answer.json()
        assert (told["status"], told["timed_out"], told["decision"]) == ("cancelled", False, None)
        assert told["cancel_reason"] == "withdrawn"


async def test_somebody_elses_look_delivers_nothing(
    wait: Any, approved: Asked, bearer: Callable[..., dict[str, str]], project: Project, bob: User
) -> None:
    approval = await run_in_threadpool(approved, via="rest")
    key = await run_in_threadpool(bearer, project, bob)
    assert (await wait(approval.id, key)).json()["status"] == "approved"
    assert (await Approval.objects.aget()).delivered_at is None


async def test_who_may_not_see_it_is_told_nothing(
    wait: Any,
    asked: Asked,
    bearer: Callable[..., dict[str, str]],
    elsewhere: Project,
    stranger: User,
    project: Project,
    alice: User,
) -> None:
    approval = await run_in_threadpool(asked)
    foreign = await run_in_threadpool(bearer, elsewhere, stranger)
    known, unknown = await wait(approval.id, foreign), await wait(uuid4(), foreign)
    assert (known.status_code, known.content) == (404, unknown.content)
    assert (await wait(approval.id, {})).status_code == 401
    weak = await run_in_threadpool(bearer, project, alice, scopes=["feed:read"])
    assert (await wait(approval.id, weak)).status_code == 403


@pytest.mark.parametrize("timeout", ["x", "-1", "1e9", "nan", ""])
async def test_a_timeout_is_a_number_of_seconds(wait: Any, asked: Asked, mine: Any, timeout: str) -> None:
    approval = await run_in_threadpool(asked)
    answer = await wait(approval.id, mine, timeout=timeout)
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid")


def test_a_lease_outlives_the_longest_held_call(asked: Asked, timings: Any) -> None:
    timings(held_call_secs=300)
    with clock_at(NOON):
        lease = Waiter.objects.get(pk=waiting.begin(asked().id))
    assert (lease.lease_until - NOON).total_seconds() > 300


def test_a_lease_of_a_server_that_died_lapses(asked: Asked, project: Project, alice: User) -> None:
    approval = asked()
    with clock_at(NOON):
        waiting.begin(approval.id)
    waiting.begin(approval.id)
    assert waiting.look(project.pk, approval.id, Actor.of_user(alice)).waiters == 1
    retention.sweep()
    assert Waiter.objects.count() == 1


def test_the_sum_counts_live_waits_for_pending_requests_alone(asked: Asked, approved: Asked) -> None:
    with clock_at(NOON):
        waiting.begin(asked().id)
    waiting.begin(approved().id)
    waiting.begin(asked().id)
    waiting.begin(asked().id)
    assert waiter_count(Approval.objects.all()) == 2
    assert waiter_count(Approval.objects.filter(project=None)) == 0
