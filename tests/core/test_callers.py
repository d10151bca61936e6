"""The caller that a request counts for, before and after its authentication."""

from __future__ import annotations

import pytest

from core.web import callers

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no:address", "no:address"),
    ],
)
def test_one_host_counts_as_one_address(host: str, address: str) -> None:
    assert callers.address({"client": (host, 80)}) == address
    assert callers.address({"client": None}) == ""


def test_a_secret_names_its_caller_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("core.web.callers.time.monotonic", lambda: now)
    proven = callers.Proven()
    assert proven.name("") == proven.name("secret") == ""
    proven.remember("secret", "key:a")
    assert proven.name("secret") == "key:a"
    assert "secret" not in repr(vars(proven))
    now += callers.REMEMBERED_SECS
    assert proven.name("secret") == ""


def test_few_secrets_are_remembered_and_those_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "REMEMBERED", 2)
    proven = callers.Proven()
    for secret in ("one", "two", "one", "three"):
        proven.remember(secret, secret)
    assert [proven.name(secret) for secret in ("one", "two", "three")] == ["one", "", "three"]
