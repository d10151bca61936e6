"""Every adapter passes the conformance kit, with its real library, against a real server."""

from __future__ import annotations

import pytest

from tests.conftest import RUN
from tests.e2e.conformance.adapters import harnesses
from tests.servers.stack import House
from wardroom import Client
from wardroom.conformance import Harness, Kit, Run, check_all, checks

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

HARNESSES: dict[str, Harness] = {
    "require_approval": harnesses.plain,
    "pydantic_ai": harnesses.pydantic_ai,
    "openai_agents": harnesses.openai_agents,
    "langgraph": harnesses.langgraph,
    "claude_agent_sdk": harnesses.claude_agent_sdk,
}
#: Other ways through the same adapters, each with its own risk. People cannot edit the second one's calls.
OTHER_WAYS: dict[str, tuple[Harness, bool]] = {
    "pydantic_ai_inside": (harnesses.pydantic_ai_inside, True),
    "openai_agents_own_tool": (harnesses.openai_agents_own_tool, False),
}
#: Each finds a fault of an adapter that runs everything, without a wait of seconds.
FAST = [
    checks.an_approved_call_runs_once,
    checks.a_denied_call_does_not_run,
    checks.edited_arguments_are_what_runs,
    checks.a_second_answer_changes_nothing,
    checks.a_repeated_run_does_not_run_the_tool_again,
    checks.an_answer_before_the_wait_is_found,
    checks.without_an_answer_nothing_runs,
    checks.a_stale_approval_does_not_run,
    checks.two_calls_of_one_turn_get_their_own_answers,
    checks.the_end_of_a_root_stops_its_grandchild,
]
FEW = [
    checks.an_approved_call_runs_once,
    checks.edited_arguments_are_what_runs,
    checks.without_an_answer_nothing_runs,
    checks.two_calls_of_one_turn_get_their_own_answers,
]
# Frameworks meet the database only through REST: two of them are enough for PostgreSQL.
CHOSEN = list(HARNESSES) if RUN.backend == "sqlite" else list(HARNESSES)[:2]


@pytest.mark.parametrize("name", CHOSEN)
def test_an_adapter_conforms(house: House, name: str) -> None:
    assert check_all(Kit(HARNESSES[name], url=house.url, key=house.key)) is None


@pytest.mark.parametrize("name", OTHER_WAYS if RUN.backend == "sqlite" else list(OTHER_WAYS)[1:])
def test_another_way_through_an_adapter_conforms(house: House, name: str) -> None:
    harness, can_edit = OTHER_WAYS[name]
    assert check_all(Kit(harness, url=house.url, key=house.key, can_edit=can_edit), FEW) is None


def wrong(run: Run) -> list[str]:
    """An adapter with every fault: it runs the tool whatever people say, and asks anew each time."""
    client = Client(run.url, run.key)
    for call in run.calls:
        action = {"permission": "write", "resource": call.arguments["path"], "tool_call_id": call.id}
        asked = client.ask_approval("write", call.arguments, **action)
    client.wait_approval(asked["id"], 0 if run.timeout or run.ran else 25)
    return [run.tool(**call.arguments) for call in run.calls]


def test_the_kit_finds_the_faults_of_an_adapter(house: House) -> None:
    with pytest.raises(ExceptionGroup) as found:
        check_all(Kit(wrong, url=house.url, key=house.key), FAST)
    assert len(found.value.exceptions) == len(FAST)
