"""Each person sets their own wishes about mails in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from approvals.models import NotifyPreference
from tests.people import owner

pytestmark = pytest.mark.django_db
WISHES = {"mail": "on", "settled": "on", "batch_secs": "0", "quiet_from": "22:00", "quiet_until": "07:00"}


@pytest.fixture
def ann() -> User:
    return owner("ann")


@pytest.fixture
def page(ann: User, client: Client) -> Any:
    client.force_login(ann)
    address = reverse("admin:approvals_approval_preferences")
    return lambda words=None: client.get(address) if words is None else client.post(address, words)


def test_a_person_saves_wishes_and_sees_them_again(page: Any, ann: User, client: Client) -> None:
    other = NotifyPreference.objects.create(user=owner("bob"), mail=False)
    assert page().status_code == 200 and not NotifyPreference.objects.filter(user=ann).exists()
    for zone in ("Europe/Vienna", "UTC"):
        assert page({**WISHES, "time_zone": zone}).status_code == 302
        row = NotifyPreference.objects.get(user=ann)
        assert (row.mail, row.batch_secs, row.quiet_from.hour, row.quiet_until.hour, row.time_zone) == (
            *(True, 0, 22, 7),
            zone,
        )
    shown = page().content.decode()
    assert 'value="22:00"' in shown and "chat" not in page().context["form"].fields
    other.refresh_from_db()
    assert other.mail is False


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"time_zone": "Vienna"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"quiet_until": ""}, "quiet_until"),
        ({"batch_secs": "86401"}, "batch_secs"),
        ({"batch_secs": "-1"}, "batch_secs"),
    ],
)
def test_a_wish_that_means_nothing_is_refused_by_its_field(page: Any, changed: dict[str, str], field: str) -> None:
    answer = page({**WISHES, "time_zone": "UTC", **changed})
    assert answer.status_code == 200 and list(answer.context["form"].errors) == [field]
    assert not NotifyPreference.objects.exists()


def test_a_room_is_one_of_the_servers(page: Any, ann: User, settings: Any) -> None:
    settings.CHAT_URLS = {"ops": "json://localhost"}
    assert list(page({**WISHES, "time_zone": "UTC", "chat": "other"}).context["form"].errors) == ["chat"]
    assert page({**WISHES, "time_zone": "UTC", "chat": "ops"}).status_code == 302
    assert NotifyPreference.objects.get(user=ann).chat == "ops"


def test_a_person_without_approvals_has_no_such_page(client: Client) -> None:
    client.force_login(User.objects.create(username="guest", is_staff=True))
    assert client.get(reverse("admin:approvals_approval_preferences")).status_code == 403
