"""The model of a run: the rule of its choice, and the router of an installation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata as packages
from typing import Any

import pytest

from ledger.models import Event
from orchestration import model_routing
from orchestration.model_routing import ModelRef, chosen
from tests.orchestration.connections.conftest import Server, Spawn


@pytest.mark.parametrize(
    ("options", "metadata", "found"),
    [
        ({"provider": "acme", "model": "m-1"}, {}, ModelRef("acme", "m-1")),
        ({"provider": " acme ", "model": " m-1 "}, {"provider_name": "other"}, ModelRef("acme", "m-1")),
        ({"provider": "  ", "model": "m-1"}, {"provider_name": " other "}, ModelRef("other", "m-1")),
        ({"model": "m-1"}, {"provider_name": "other"}, ModelRef("other", "m-1")),
        ({"provider": "acme", "model": " "}, {"provider_name": "other"}, None),
        ({"model": "m-1"}, {"provider_name": "  "}, None),
        ({"model": "m-1"}, {"provider_name": 7}, None),
        ({"model": "m-1"}, {"provider_name": "x" * 201}, None),
        ({"provider": "acme"}, {"provider_name": "other"}, None),
        ({}, {"provider_name": "other"}, None),
        ({}, {}, None),
    ],
)
def test_the_rule_of_the_choice(options: Any, metadata: Any, found: Any) -> None:
    assert chosen(options, metadata) == found


ODD: dict[str, Any] = {
    "none": None,
    "nul": "a\0b",
    "surrogate": "\ud800",
    "number": 7,
    "long": "x" * 10_000,
    "blank": " ",
}


class Gateway:
    """A router that sends everything through one gateway, and knows one provider."""

    hangs = threading.Event()

    def provider_type_for(self, ref: ModelRef) -> str:
        return "openai"

    def route(self, ref: ModelRef) -> ModelRef:
        if ref.provider == "broken":
            raise LookupError("no such provider for the key sk-secret")
        if ref.provider == "exits":
            raise SystemExit(3)
        if ref.provider in ODD:
            return replace(ref, model=ODD[ref.provider])
        if ref.provider == "hangs":
            self.hangs.wait(30)
        return replace(ref, provider="gateway")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install routers as packages would: by entry points."""

    def install(*names: str) -> None:
        points = [packages.EntryPoint(name, f"{__name__}:{name}", model_routing.GROUP) for name in names]
        monkeypatch.setattr(packages, "entry_points", lambda group: points if group == model_routing.GROUP else [])
        model_routing.router.cache_clear()

    yield install
    monkeypatch.undo()
    model_routing.router.cache_clear()


def model_of(server: Server, child: Spawn) -> Any:
    with server.child(child, run=False) as peer:
        return peer.hear("run").get("model")


def test_a_router_routes_the_model(installed: Any, server: Server, spawn: Callable[..., Spawn]) -> None:
    installed("Gateway")
    child = spawn(model="m-1", metadata={"provider_name": "acme"})
    routed = {"provider": "gateway", "model": "m-1", "provider_type": "openai"}
    assert model_of(server, child) == child.attempt().model == routed


def test_a_router_that_fails_is_told_once(
    installed: Any, server: Server, spawn: Callable[..., Spawn], caplog: pytest.LogCaptureFixture
) -> None:
    installed("Gateway")
    child = spawn(provider="broken", model="m-1")
    assert model_of(server, child) is None
    assert model_of(server, child) is None
    payload = Event.objects.get(type="provider_fallback").payload
    # The child reads this event. The text of the router may hold its key, so it is in the log alone.
    assert payload == {"provider": "broken", "model": "m-1", "error": "LookupError"}
    assert "sk-secret" in caplog.text


def test_a_router_that_exits_ends_nothing_else(installed: Any, server: Server, spawn: Callable[..., Spawn]) -> None:
    installed("Gateway")
    assert model_of(server, spawn(provider="exits", model="m-1")) is None
    assert "RuntimeError" in Event.objects.get(type="provider_fallback").payload["error"]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_of_a_router_harms_no_run(
    installed: Any, server: Server, spawn: Callable[..., Spawn], odd: str
) -> None:
    installed("Gateway")
    assert model_of(server, spawn(provider=odd, model="m-1")) is None
    assert "no usable text as model" in Event.objects.get(type="provider_fallback").payload["error"]


def test_a_router_that_hangs_does_not_hold_up_the_run(
    installed: Any, server: Server, spawn: Callable[..., Spawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_routing, "ROUTE_SECS", 0.1)
    monkeypatch.setattr(model_routing, "_silent_until", 0.0)
    installed("Gateway")
    try:
        assert model_of(server, spawn(provider="hangs", model="m-1")) is None
        assert "0.1 s" in Event.objects.get(type="provider_fallback").payload["error"]
        assert model_of(server, spawn(provider="acme", model="m-1")) is None, "no further thread waits for it"
        monkeypatch.setattr(model_routing, "_silent_until", 0.0)
        assert model_of(server, spawn(provider="acme", model="m-1")) is not None
    finally:
        Gateway.hangs.set()


def test_two_routers_are_no_router(installed: Any, server: Server, spawn: Callable[..., Spawn]) -> None:
    installed("Gateway", "Gateway")
    assert model_of(server, spawn(provider="acme", model="m-1")) is None
    assert "several packages" in Event.objects.get(type="provider_fallback").payload["error"]


def test_providers_of_the_settings(installed: Any, server: Server, spawn: Callable[..., Spawn], settings: Any) -> None:
    settings.WARDROOM_PROVIDERS = {"acme": "anthropic"}
    installed()
    told = {"provider": "acme", "model": "m-1", "provider_type": "anthropic"}
    assert model_of(server, spawn(provider="acme", model="m-1")) == told
    assert model_of(server, spawn(provider="emca", model="m-1")) is None
    assert "known are acme" in Event.objects.get(type="provider_fallback").payload["error"]


def test_without_any_provider_every_one_is_known(server: Server, spawn: Callable[..., Spawn]) -> None:
    assert model_of(server, spawn(provider="acme", model="m-1")) == {"provider": "acme", "model": "m-1"}
    assert not Event.objects.filter(type="provider_fallback").exists()
