"""`manage.py create_api_key`: how long a key may live."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Credential, User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("days", [3651, 10**9, 10**12])
def test_a_key_for_more_than_ten_years_is_refused_with_the_bound(days: int) -> None:
    User.objects.create_superuser("admin", password="x")
    with pytest.raises(CommandError, match="--days is at most 3650"):
        call_command("create_api_key", f"--days={days}")
    assert not Credential.objects.exists()


def test_a_key_for_ten_years_is_made() -> None:
    User.objects.create_superuser("admin", password="x")
    call_command("create_api_key", "--days=3650")
    assert Credential.objects.get().expires_at
