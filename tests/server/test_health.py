"""/healthz reports the process. /readyz names the failing part."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def lonely(stack: Callable[..., House]) -> Any:
    """A web process without worker and beat."""
    return stack(worker=False, beat=False)


def parts(house: Any) -> Any:
    answer = httpx.get(f"{house.url}/readyz", timeout=10)
    return answer.status_code, answer.json()


def test_without_beat_it_is_degraded_and_still_ready(lonely: Any) -> None:
    status, told = parts(lonely)
    assert status == 200
    assert told["status"] == "degraded"
    assert told["parts"]["beat"] == {"ok": False, "age_secs": None, "error": "no beat job has run yet"}
    assert all(told["parts"][name] == {"ok": True} for name in ("database", "migrations", "broker", "hub"))


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_a_broker_that_is_gone_or_hangs_is_named_within_seconds(lonely: Any, fault: str) -> None:
    getattr(lonely.broker, fault)()
    began = time.monotonic()
    _, told = wait_until(lambda: (got := parts(lonely))[0] == 503 and got)
    assert time.monotonic() - began < 8
    assert told["status"] == "unavailable"
    assert not told["parts"]["broker"]["ok"] and not told["parts"]["hub"]["ok"]
    assert told["parts"]["database"] == {"ok": True}
    assert httpx.get(f"{lonely.url}/healthz", timeout=10).json() == {"status": "ok"}
    if fault == "pause":
        lonely.broker.resume()
    lonely.broker.start()
    wait_until(lambda: parts(lonely)[0] == 200)


def test_probes_need_no_host_name_of_ours(lonely: Any) -> None:
    for path in ("/healthz", "/readyz"):
        assert httpx.get(lonely.url + path, headers={"Host": "10.0.0.7"}).status_code == 200
    assert httpx.get(f"{lonely.url}/admin/login/", headers={"Host": "10.0.0.7"}).status_code == 400


def test_missing_migrations_are_named(lonely: Any) -> None:
    lonely.manage("migrate", "accounts", "zero", "--fake")
    lonely.stop("web1")
    lonely.start("web1", wait=False)
    status, told = wait_until(lambda: parts(lonely))
    assert status == 503
    assert not told["parts"]["migrations"]["ok"]
    assert told["parts"]["migrations"]["error"].endswith(" to apply")


def test_a_crowd_of_probes_costs_one_look_a_second(lonely: Any) -> None:
    with httpx.Client(base_url=lonely.url, timeout=30) as probe:
        began, before = time.monotonic(), pings(lonely)
        for _ in range(100):
            assert probe.get("/readyz").status_code == 200
        looks_at_most = time.monotonic() - began + 1
    assert 0 <= pings(lonely) - before <= 2 * looks_at_most


def pings(house: Any) -> Any:
    """Count the checks of the broker. Only /readyz checks it more than once in 15 s."""
    with house.broker.client() as client:
        return client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
