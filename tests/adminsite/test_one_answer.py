"""Existing and unknown rows get the same answer."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from tests.adminsite.planting import plant, staff

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("page", ["change", "history", "delete"])
@pytest.mark.parametrize("kind", ["accounts/user", "auth/group"])
def test_who_may_not_see_people_learns_nothing_of_which_exist(page: str, kind: str) -> None:
    planted = plant("mine", "MINE")
    member = staff("member", planted.project)
    client = Client()
    client.force_login(member)
    there = member.groups.get().pk if kind == "auth/group" else User.objects.create_superuser("super").pk
    answers = [client.get(f"/admin/{kind}/{pk}/{page}/") for pk in (there, 987654)]
    assert len({(answer.status_code, answer.get("Location")) for answer in answers}) == 1, answers
