"""The registry of runners: which plug-in takes a session, and what a bad one cannot do."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.core import checks
from django.db import IntegrityError, transaction

from accounts import scopes
from core.limits import LIMITS
from core.web.problems import Problem
from ledger.models import OutboxEntry
from orchestration.models import Session
from orchestration.runners import registry
from orchestration.sessions import launch, lifecycle, roles, spawn
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status
from tests.mailbox.faces import Caller, Django
from tests.orchestration import stages
from tests.orchestration.runners.conftest import Install
from tests.orchestration.stages import ACTOR
from tests.people import owner
from wardroom.runners import NewSession

pytestmark = pytest.mark.django_db


def saying(answer: Any, asked: list[Any] | None = None) -> type:
    """A runner class whose should_handle gives, raises or calls `answer`."""

    class Acme:
        def should_handle(self, session: NewSession) -> Any:
            if asked is not None:
                asked.append(session)
            if isinstance(answer, BaseException):
                raise answer
            return answer() if callable(answer) else answer

        async def execute(self, job: Any, events: Any, cancel: Any) -> None: ...

    return Acme


def spawned(**order: Any) -> Session:
    return spawn.spawn(stages.project(), SpawnOrder(**{"assignment": "count", **order}), ACTOR).session


def refused(**order: Any) -> str:
    with pytest.raises(Problem) as problem:
        spawned(**order)
    assert problem.value.status == 422
    return str(problem.value.detail)


def test_the_first_yes_wins_by_setting_and_then_by_name(install: Install, settings: Any) -> None:
    settings.WARDROOM_RUNNERS = ["zebra"]
    order: list[str] = []

    def note(name: str, answer: bool) -> type:
        return saying(lambda: order.append(name) or answer)

    install(beta=note("beta", True), alpha=note("alpha", False), zebra=note("zebra", False), gamma=note("gamma", True))
    assert spawned().runner == "beta"
    assert order == ["zebra", "alpha", "beta"]


def test_a_plug_in_sees_the_order(install: Install) -> None:
    asked: list[NewSession] = []
    install(acme=saying(True, asked))
    session = spawned(title="t", model="m", provider="p", metadata={"a": 1}, disabled_tools=("x",))
    assert session.runner == "acme"
    assert session.command is None
    [seen] = asked
    assert (seen.project, seen.assignment, seen.title, seen.model, seen.provider) == ("default", "count", "t", "m", "p")
    assert (seen.metadata, seen.disabled_tools) == ({"a": 1}, ("x",))


def test_a_name_wins_over_should_handle(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[NewSession] = []
    install(acme=saying(True, asked), other=saying(False, asked))
    assert spawned(runner="other").runner == "other"
    assert spawned(runner="external").runner == "external"
    assert spawned(command=("true",)).runner == "process"
    monkeypatch.setitem(LIMITS.roles, "mine", {"runner": "other"})
    assert spawned(role="mine").runner == "other"
    assert asked == []


def test_a_no_of_everybody_is_a_process(install: Install) -> None:
    install(acme=saying(False))
    assert spawned(assignment="! true", role="runbook").runner == "process"
    assert "name a role" in refused()


@pytest.mark.parametrize("answer", [RuntimeError("no"), SystemExit(3), "yes", 1])
def test_what_raises_or_is_no_true_is_a_no(install: Install, answer: Any) -> None:
    install(acme=saying(answer), other=saying(True))
    assert spawned().runner == "other"


def test_what_cannot_be_imported_is_a_no_and_named(install: Install) -> None:
    install(acme=ImportError("no module named acme"), bare=object, other=saying(True))
    assert spawned().runner == "other"
    assert spawned(runner="acme").runner == "acme", "it waits for a host that can import it"
    failures = dict(registry.failures())
    assert failures["acme"] == "ImportError: no module named acme"
    assert failures["bare"].startswith("TypeError")
    assert "other" not in failures


def test_what_hangs_is_a_no_and_is_not_asked_for_a_while(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ASK_SECS", 0.2)
    free = threading.Event()
    asked: list[Any] = []
    try:
        install(acme=saying(lambda: free.wait(60), asked), other=saying(True))
        began = time.monotonic()
        assert spawned().runner == "other"
        assert time.monotonic() - began < 10
        assert spawned().runner == "other"
        assert len(asked) == 1
    finally:
        free.set()


def test_an_unknown_runner_is_refused_and_the_known_ones_are_named(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(acme=saying(False))
    assert "must be one of process, external, acme, and is 'pool'" in refused(runner="pool")
    monkeypatch.setitem(LIMITS.roles, "mine", {"runner": "gone"})
    assert "and is 'gone' (the role 'mine' names it)" in refused(role="mine")
    assert "takes no command" in refused(runner="acme", command=("true",))


def test_taken_and_malformed_names_are_left_out(install: Install) -> None:
    install(process=saying(True), external=saying(True), **{"A b": saying(True)}, acme=saying(False))
    assert registry.known() == ["process", "external", "acme"]


def test_a_role_gives_its_reach_to_a_plug_in_that_this_server_chose(install: Install) -> None:
    key = type(ACTOR)(kind="key", id="1", name="k", scopes=("sessions:write",))
    reach = {"actor": key, "role": "runbook", "command": None}
    assert roles.gives_reach(runner="acme", named=None, **reach)
    assert not roles.gives_reach(runner="acme", named="acme", **reach)
    assert not roles.gives_reach(runner="external", named=None, **reach)
    assert roles.gives_reach(runner="process", named="process", **reach)


def test_a_worker_launches_no_session_of_a_plug_in(install: Install) -> None:
    install(acme=saying(True))
    session = spawned()
    assert not OutboxEntry.objects.filter(key__startswith="launch:").exists()
    assert not launch.launch(session.pk, 1)
    assert stages.again(session).status == Status.QUEUED


def test_a_host_that_never_spoke_gets_it_once_more(install: Install) -> None:
    install(acme=saying(True))
    session = spawned()
    assert launch.claim(session.pk, 1, "here:1")
    assert launch.claim(session.pk, 1, "there:2") is None
    assert session.attempts.get(number=1).host == "here:1"
    assert launch.give_up_waiting(session.pk, 1)
    assert stages.again(session).attempt == 2
    assert launch.claim(session.pk, 2, "there:2")
    assert launch.give_up_waiting(session.pk, 2)
    assert stages.again(session).error == "no first frame from the child in 60 s"


def test_it_keeps_its_runner_when_it_is_retried(install: Install) -> None:
    install(acme=saying(True))
    session = spawned()
    assert launch.claim(session.pk, 1, "here:1")
    lifecycle.finish(session.pk, 1, Status.ERROR, error="no")
    install()  # The package is gone: the row stays readable, and waits.
    assert lifecycle.retry(stages.project(), session.pk, ACTOR).status == Status.QUEUED


def test_a_runner_has_a_name() -> None:
    session = stages.queued()
    with pytest.raises(IntegrityError), transaction.atomic():
        Session.objects.filter(pk=session.pk).update(runner="")


def test_the_check_names_runners_that_cannot_be_used(install: Install, settings: Any) -> None:
    settings.WARDROOM_RUNNERS = ["acme", "gone"]
    install(acme=ImportError("no module named acme"), other=saying(True))
    found = {each.id: each.msg for each in checks.run_checks() if each.id in ("wardroom.W009", "wardroom.W010")}
    assert found["wardroom.W009"] == "The runner acme cannot be used here: ImportError: no module named acme"
    assert "'gone', which WARDROOM_RUNNERS names" in found["wardroom.W010"]


def test_a_replay_asks_no_plug_in_again(install: Install) -> None:
    asked: list[NewSession] = []
    answers = [True, False]
    install(acme=saying(lambda: answers.pop(0), asked))
    caller = Caller(Django(), stages.project().pk, user=owner(), scopes=scopes.ALL)
    first, second = (caller.post("/api/v1/sessions", {"assignment": "x"}, Idempotency_Key="k") for _ in range(2))
    assert (first.status_code, first.json()["runner"]) == (201, "acme")
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])
    assert len(asked) == 1
