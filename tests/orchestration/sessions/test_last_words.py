"""The end of a child within the limits of a frame is always stored, and its parent gets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from core.limits import LIMITS
from core.web.problems import Problem
from mailbox import envelope, session_inbox
from orchestration.sessions import lifecycle
from orchestration.sessions.truncate import cut, json_bytes, stored_bytes
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db
RESULT, ERROR = LIMITS.max_result_bytes, LIMITS.max_error_bytes

pattern = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
of_any_size = st.one_of(st.integers(0, 2000), st.integers(0, RESULT), st.integers(RESULT - 50, RESULT))


def filled(word: str, size: int) -> str:
    """As many of these as fit into so many bytes."""
    return (word * (size // stored_bytes(word) + 1)).encode()[:size].decode(errors="ignore")


@given(word=pattern, size=of_any_size, other=pattern, more=st.one_of(st.none(), st.integers(0, 900_000)))
@example(word="\x01", size=RESULT, other="\x02", more=900_000)
@example(word='"', size=RESULT, other="\\", more=None)
@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_terminal_within_the_limits_is_accepted(
    transactional: None, word: str, size: int, other: str, more: int | None
) -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    result, error = filled(word, size), None if more is None else filled(other, more)
    assert lifecycle.finish(child.pk, 1, Status.COMPLETED, result=result, error=error)
    row = stages.again(child)
    assert (row.status, row.result) == ("completed", result)
    assert stored_bytes(row.error or "") <= ERROR
    (message,) = session_inbox.unadmitted(parent.project_id, parent.address)
    assert len(message.body_text.encode()) <= LIMITS.max_body_bytes
    told: dict[str, Any] = message.body
    if told.get("result_cut"):
        kept, _, mark = told["result"].partition("\n[cut by Wardroom: ")
        assert result.startswith(kept)
        assert mark == f"{len(result)} characters in all; the whole is the session's result]"
        # As much as fits: another character, six bytes at most, would not.
        assert len(message.body_text.encode()) > LIMITS.max_body_bytes - 6
    else:
        assert told["result"] == result


@pytest.fixture
def transactional(db: None) -> None:
    """Every example in the test's own transaction."""


def test_an_error_beyond_its_limit_is_cut_with_a_mark() -> None:
    session = stages.running()
    whole = "é" * ERROR
    assert lifecycle.finish(session.pk, 1, Status.ERROR, error=whole)
    error = stages.again(session).error or ""
    assert error.endswith(f"\n[cut by Wardroom: {ERROR} characters in all]")
    assert ERROR - 2 < stored_bytes(error) <= ERROR
    assert stages.attempt(session).reason == error


def test_a_result_beyond_its_limit_is_refused_and_the_session_goes_on() -> None:
    session = stages.running()
    with pytest.raises(Problem):
        lifecycle.finish(session.pk, 1, Status.COMPLETED, result="x" * (RESULT + 1))
    assert stages.again(session).status == "running"


@given(text=st.text(max_size=300), most=st.integers(80, 400))
def test_a_cut_text_fits_and_one_that_fits_is_left_alone(text: str, most: int) -> None:
    text = text.encode(errors="ignore").decode()
    for size in (stored_bytes, json_bytes):
        short = cut(text, most, "", size)
        assert size(short) <= most
        assert short == text or size(text) > most
    assert (
        json_bytes(text)
        == len(json.dumps(text, ensure_ascii=False).encode()) - 2
        == len(envelope.body_text(text).encode()) - 2
    )
