"""System checks report faults that nobody would see otherwise."""

from __future__ import annotations

import pytest
from django.core import checks

from accounts import scopes


def test_a_scope_whose_permission_no_model_declares_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [found for found in checks.run_checks() if found.id == "wardroom.E008"]
    monkeypatch.setitem(scopes.NEEDS, "feed:read", ("ledger.view_evnt",))
    (found,) = [found for found in checks.run_checks() if found.id == "wardroom.E008"]
    assert "ledger.view_evnt" in found.msg
