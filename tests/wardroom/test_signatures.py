"""The arguments of an action come from the signature of a call, and edited ones go back into it."""

from __future__ import annotations

from typing import Any

import pytest

from wardroom import AsyncClient, human_as_tool, require_approval
from wardroom.client import Client
from wardroom.decision import Decision
from wardroom.gate import ApprovalUnusable
from wardroom.gate.decorator import Signature
from wardroom.gate.refusals import refusal_of

DECISION = Decision("r", "approved")


def every_kind(a: int, /, b: int = 2, *rest: int, c: int = 3, **others: int) -> list[Any]:
    return [a, b, rest, c, others]


def called(signature: Signature, arguments: dict[str, Any], passed_on: dict[str, Any] | None = None) -> Any:
    runs = signature.bound(arguments, passed_on or {}, DECISION)
    return every_kind(*runs.args, **runs.kwargs)


@pytest.mark.parametrize("call", [((1,), {}), ((1, 5, 6, 7), {"c": 8, "d": 9}), ((1,), {"b": 4})])
def test_a_call_survives_the_way_through_json(call: tuple[tuple[int, ...], dict[str, int]]) -> None:
    signature = Signature(every_kind, ())
    shown, passed_on = signature.split(*call)
    assert called(signature, shown, passed_on) == every_kind(*call[0], **call[1])


def test_defaults_are_shown() -> None:
    assert Signature(every_kind, ()).split((1,), {})[0] == {"a": 1, "b": 2, "rest": [], "c": 3, "others": {}}


def test_edited_arguments_are_the_call() -> None:
    assert called(Signature(every_kind, ()), {"a": 7, "c": 0}) == [7, 2, (), 0, {}]


@pytest.mark.parametrize("edited", [{}, {"a": 1, "z": 2}, {"a": 1, "rest": 5}, {"a": 1, "others": "z"}])
def test_an_edit_that_does_not_fit_runs_nothing(edited: dict[str, Any]) -> None:
    with pytest.raises(ApprovalUnusable, match="did not run") as refusal:
        Signature(every_kind, ()).bound(edited, {}, DECISION)
    assert refusal.value.code == "invalid-edit"


def test_the_object_of_a_method_and_ignored_parameters_are_no_arguments() -> None:
    def method(self: object, path: str, connection: object) -> None: ...

    signature = Signature(method, ("connection",))
    shown, passed_on = signature.split((3j, "/tmp", 4j), {})
    assert (shown, passed_on) == ({"path": "/tmp"}, {"self": 3j, "connection": 4j})


def test_a_value_that_is_no_json_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match="name it in `ignore`"):
        Signature(every_kind, ()).split((object(),), {})


def test_a_call_that_does_not_fit_asks_nobody() -> None:
    @require_approval(Client("http://127.0.0.1:1", "key"))
    def tool(path: str) -> None: ...

    with pytest.raises(TypeError, match="missing"):
        tool()  # type: ignore[call-arg]


async def test_a_client_of_the_wrong_kind_is_named() -> None:
    @require_approval(Client("http://127.0.0.1:1", "key"))
    async def tool() -> None: ...

    with pytest.raises(TypeError, match="needs an AsyncClient or a Child, not Client"):
        await tool()

    @require_approval(AsyncClient("http://127.0.0.1:1", "key"))
    def plain() -> None: ...

    with pytest.raises(TypeError, match=r"needs a Client or a Child of wardroom\.sync, not AsyncClient"):
        plain()


@pytest.mark.parametrize("question", [None, 5, ["Which?"], "", " \n"])
async def test_a_question_that_nobody_could_answer_asks_nobody(question: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="the question is"):
        human_as_tool(Client("http://127.0.0.1:1", "key"))(question)
    with pytest.raises((TypeError, ValueError), match="the question is"):
        await human_as_tool(AsyncClient("http://127.0.0.1:1", "key"))(question)


@pytest.mark.parametrize("state", ["denied", "expired", "cancelled", "pending", "", None, "APPROVED", "allowed"])
def test_nothing_but_an_approval_is_an_approval(state: Any) -> None:
    assert refusal_of(Decision("r", state)) is not None


def test_an_answer_in_words_lets_nothing_run() -> None:
    assert refusal_of(Decision("r", "approved", "use the other one", kind="respond")) is not None


def test_the_model_reads_the_words_of_the_person() -> None:
    assert str(refusal_of(Decision("r", "denied", "not on a Friday"))) == "The request was denied: not on a Friday"
    assert "not a refusal" in str(refusal_of(Decision("r", "expired")))
