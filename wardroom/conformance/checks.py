"""The checks, each for one way in which an approval goes wrong between a server and a framework."""

import os
import signal
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from wardroom.client import Problem
from wardroom.conformance.kit import Kit, Run, eventually, expect
from wardroom.gate.action import Policy
from wardroom.gate.refusals import ApprovalPending

Check = Callable[[Kit], None]
NEVER = "an action that is not approved does not run"


def an_approved_call_runs_once(kit: Kit) -> None:
    """The tool runs once with exactly the approved arguments, and the model reads its result."""
    with kit.run() as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        expect(asked["tool_name"] == "write", "the request names the tool")
        expect(asked["arguments"] == run.calls[0].arguments, "people see the arguments of the call")
        expect(asked["tool_call_id"] == run.calls[0].id, "the request names the call of the model")
        expect(not run.ran, "nothing runs before the answer")
        kit.people.decide(asked, "approve")
        [text] = started.result()
        expect(run.ran == [run.calls[0].arguments], "an approved call runs once, with its own arguments")
        expect("wrote" in text, f"the model reads the result of the tool, not {text!r}")
        found = kit.people.approval(asked["id"])
        expect(found["consumed_at"], "the one execution is consumed")
        expect(not kit.reports or found["outcome"] == "ran", f"the outcome is reported; it is {found['outcome']}")


def a_denied_call_does_not_run(kit: Kit) -> None:
    """Nothing runs, and the model reads the words of the person."""
    with kit.run() as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        kit.people.decide(asked, "deny", message="not on a Friday")
        [text] = started.result()
        expect(run.ran == [], NEVER)
        expect("not on a Friday" in text, f"the model reads the words of the person, not {text!r}")


def edited_arguments_are_what_runs(kit: Kit) -> None:
    """The tool runs with the edited arguments. An adapter that cannot do this lets nobody edit."""
    with kit.run() as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        edited = {**run.calls[0].arguments, "text": "edited"}
        if not kit.can_edit:
            expect("edit" not in asked["allowed_decisions"], "nobody may edit what the framework cannot run")
            kit.people.decide(asked, "deny")
            return
        kit.people.decide(asked, "edit", arguments=edited)
        started.result()
        expect(run.ran == [edited], f"the edited arguments run, not {run.ran}")


def a_second_answer_changes_nothing(kit: Kit) -> None:
    """The second person gets a conflict, and the first answer is the one that counts."""
    with kit.run() as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        kit.people.decide(asked, "deny", message="no")
        try:
            kit.people.decide(asked, "approve")
        except Problem as problem:
            expect(problem.type == "already-decided", f"the second answer is a conflict, not {problem}")
        else:
            raise AssertionError("the second answer is a conflict")
        started.result()
        expect(run.ran == [], NEVER)


def a_repeated_run_does_not_run_the_tool_again(kit: Kit) -> None:
    """A conversation that is played again asks for nothing new, and its tool does not run twice."""
    with kit.run() as run:
        with kit.running(run):
            kit.people.decide(kit.asked(run)[0], "approve")
        with kit.running(run) as again:
            [text] = again.result()
        expect(len(run.ran) == 1, "an approval is good for one execution")
        expect("wrote" not in text, f"the model reads that the outcome is not known, not {text!r}")
        expect(len(kit.requests(run)) == 1, "the same call is the same request")


def an_answer_before_the_wait_is_found(kit: Kit) -> None:
    """An answer that comes while nobody waits is there for the next wait."""
    with kit.run() as run:
        run.timeout = 0.1
        _times_out(kit, run)
        kit.people.decide(kit.asked(run)[0], "approve")
        with kit.running(run) as started:
            started.result()
        expect(run.ran == [run.calls[0].arguments], "the answer is found, and the call runs once")
        expect(len(kit.requests(run)) == 1, "the same call is the same request")


def without_an_answer_nothing_runs(kit: Kit) -> None:
    """A wait that ends is neither consent nor refusal, and the request stays open for people."""
    with kit.run() as run:
        run.timeout = 0.1
        _times_out(kit, run)
        [asked] = kit.requests(run)
        expect(asked["status"] == "pending", f"the request stays pending; it is {asked['status']}")


def _times_out(kit: Kit, run: Run) -> None:
    with kit.running(run) as started:
        texts = started.result()
    expect(run.ran == [], NEVER)
    expect(all("neither consent nor refusal" in text for text in texts), f"the wait ends as pending, not as {texts}")


def a_restart_in_mid_wait_runs_the_call_once(kit: Kit) -> None:
    """The process dies while it waits. The next one finds the same request, and the tool runs once."""
    with kit.run() as run:
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                kit.harness(run)
            os._exit(0)
        try:
            eventually(lambda: any(each["waiters"] for each in kit.requests(run)), "the adapter waits")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with kit.running(run) as started:
            kit.people.decide(kit.asked(run)[0], "approve")
            started.result()
        expect(run.ran == [run.calls[0].arguments], "the call runs once")
        expect(len(kit.requests(run)) == 1, "the next process finds the same request")


def an_expired_request_does_not_run(kit: Kit) -> None:
    """The model reads that nobody answered. It is no refusal, and nothing runs."""
    policy = Policy("write", "{path}", {"expires_in_secs": 1})
    with kit.run(policy=policy) as run, kit.running(run) as started:
        [text] = started.result()
        expect(run.ran == [], NEVER)
        expect("not a refusal" in text, f"the model reads that nobody answered, not {text!r}")
        expect(kit.requests(run)[0]["status"] == "expired", "the request has expired")


def a_stale_approval_does_not_run(kit: Kit) -> None:
    """A fact that the action depends on changes after the ask: the answer is kept, and nothing runs."""
    head = ["aaa"]
    facts = [{"name": "head", "shown": "the head"}]
    policy = Policy("write", "{path}", facts=lambda arguments: [{**fact, "value_hash": head[0]} for fact in facts])
    with kit.run(policy=policy) as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        expect(asked["preconditions"], "the facts are part of the request")
        head[0] = "bbb"
        kit.people.decide(asked, "approve")
        [text] = started.result()
        expect(run.ran == [], NEVER)
        expect("wrote" not in text, f"the model reads that it did not run, not {text!r}")
        expect(kit.people.approval(asked["id"])["consumed_at"] is None, "the approval is not used")


def two_calls_of_one_turn_get_their_own_answers(kit: Kit) -> None:
    """Answers reach their calls by id, whatever the order in which people give them."""
    with kit.run(count=2) as run, kit.running(run) as started:
        first, second = kit.asked(run)
        kit.people.decide(second, "deny", message="not this one")
        kit.people.decide(first, "approve")
        texts = started.result()
        expect(run.ran == [run.calls[0].arguments], f"only the approved call runs, not {run.ran}")
        expect("wrote" in texts[0], f"the first call has its result, not {texts[0]!r}")
        expect("not this one" in texts[1], f"the second call has its refusal, not {texts[1]!r}")


def a_grandchild_is_answered_like_its_root(kit: Kit) -> None:
    """A session two levels down asks with its own token. People see its path, and their answer reaches it."""
    tokens, ids = _family(kit)
    with kit.run(key=tokens[-1]) as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        expect(asked["path"] == ids, f"people see the path from the root, not {asked['path']}")
        kit.people.decide(asked, "approve")
        started.result()
        expect(run.ran == [run.calls[0].arguments], "the call of a grandchild runs once")


def the_end_of_a_root_stops_its_grandchild(kit: Kit) -> None:
    """A tree that is cancelled takes its requests back, and nothing of it runs."""
    tokens, ids = _family(kit)
    with kit.run(key=tokens[-1]) as run, kit.running(run) as started:
        [asked] = kit.asked(run)
        kit.people.cancel(ids[0])
        with suppress(ApprovalPending, Problem):  # The token of the grandchild has ended, too.
            started.result()
        expect(run.ran == [], NEVER)
        expect(kit.people.approval(asked["id"])["status"] == "cancelled", "the request is withdrawn")


def _family(kit: Kit) -> tuple[list[str], list[str]]:
    """Spawn a root, its child and its grandchild. Return their tokens and their ids."""
    tokens: list[str] = []
    ids: list[str] = []
    for _ in range(3):
        parent = {"parent": ids[-1]} if ids else {}
        made = kit.people.spawn("conformance", runner="external", **parent)
        ids.append(made["id"])
        tokens.append(made["child"]["token"])
    return tokens, ids


CHECKS: list[Check] = [
    an_approved_call_runs_once,
    a_denied_call_does_not_run,
    edited_arguments_are_what_runs,
    a_second_answer_changes_nothing,
    a_repeated_run_does_not_run_the_tool_again,
    an_answer_before_the_wait_is_found,
    without_an_answer_nothing_runs,
    a_restart_in_mid_wait_runs_the_call_once,
    an_expired_request_does_not_run,
    a_stale_approval_does_not_run,
    two_calls_of_one_turn_get_their_own_answers,
    a_grandchild_is_answered_like_its_root,
    the_end_of_a_root_stops_its_grandchild,
]


def check_all(kit: Kit, checks: Collection[Check] = CHECKS, at_once: int = 6) -> None:
    """Run the checks, several at once. Raises an ExceptionGroup of the failures, each with the name of its check."""
    # A process is not forked while other threads hold its locks.
    alone = a_restart_in_mid_wait_runs_the_call_once
    together = [check for check in checks if check is not alone]
    failed = _failures(kit, alone) if alone in checks else []
    with ThreadPoolExecutor(at_once) as threads:
        for found in threads.map(lambda check: _failures(kit, check), together):
            failed += found
    if failed:
        raise ExceptionGroup("the adapter does not conform", failed)


def _failures(kit: Kit, check: Check) -> list[Exception]:
    try:
        check(kit)
    except Exception as error:
        error.add_note(f"in {check.__name__}: {check.__doc__}")
        return [error]
    return []
