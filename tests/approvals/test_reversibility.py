"""The reversibility of an effect: stated by the asker, the gravest without a statement, and only ever raised."""

from __future__ import annotations

import itertools

import pytest
from django.test import Client

from approvals.states import Reversibility, raised_reversibility
from core.web.problems import Problem
from ledger.models import Event
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import Asked

pytestmark = pytest.mark.django_db


def test_without_a_statement_it_is_irreversible(asked: Asked) -> None:
    assert asked().reversibility == "irreversible"


@pytest.mark.parametrize("word", Reversibility.values)
def test_it_is_shown_everywhere(asked: Asked, desk: Client, word: str) -> None:
    approval = asked(reversibility=word)
    shown = Reversibility(word).label.lower()
    assert shown in text_of(desk.get("/admin/approvals/approval/"))
    assert f"<dt>Reversibility</dt><dd>{shown}</dd>" in text_of(desk.get(page_of(approval)))
    assert Event.objects.get(type="approval_requested").payload["reversibility"] == word


def test_another_one_is_another_request_and_an_unknown_one_is_refused(asked: Asked) -> None:
    asked(request_id="same", reversibility="read_only")
    for word, kind in (("reversible", "conflict"), ("harmless", "invalid")):
        with pytest.raises(Problem) as refusal:
            asked(request_id="same", reversibility=word)
        assert refusal.value.type == kind


def test_others_raise_it_and_never_lower_it() -> None:
    order = Reversibility.values
    for stated, other in itertools.product(order, order):
        assert order.index(raised_reversibility(stated, other)) == max(order.index(stated), order.index(other))
    assert raised_reversibility("reversible", None) == "reversible"
