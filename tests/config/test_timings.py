"""Every number of the design has a type and bounds; its own value is within them, and nothing writes to it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from core import limits
from core.limits import LIMITS, Limits

pytestmark = pytest.mark.once


def test_every_setting_is_within_its_own_bounds_and_has_a_limit() -> None:
    for name, value in limits.DEFAULTS.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = limits.bounds(name)
            assert 0 <= low <= value <= high < 10**10, name
            with pytest.raises(ImproperlyConfigured, match=name):
                limits.checked({name: high * 2 + 1})
    assert limits.checked({}) == Limits() == LIMITS


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"claim_trys": 1}, "there is no setting 'claim_trys'; did you mean 'claim_tries'"),
        ({"claim_tries": 1.5}, "claim_tries is 1.5; use a whole number"),
        ({"sweep_secs": "5"}, "sweep_secs is '5'; use a number"),
        ({"child_environment": "HOME"}, "child_environment is 'HOME'; use a list of texts"),
        ({"roles": []}, r"roles is \[\]; use an object of roles by name"),
        ({"heartbeat_secs": 30}, "heartbeat_secs is 30, but must be less than heartbeat_lease_secs, which is 20"),
    ],
)
def test_a_value_that_does_not_fit_is_named(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"WARDROOM_TIMINGS: {why}"):
        limits.checked(given)


def test_nothing_writes_to_the_limits() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LIMITS.claim_tries = 1  # type: ignore[misc]


def test_the_environment_replaces_single_values_when_a_process_starts() -> None:
    code = (
        "import django; django.setup(); from core.limits import LIMITS; "
        "print(LIMITS.claim_tries, LIMITS.sweep_secs, LIMITS.child_environment)"
    )
    given = {"claim_tries": 7, "sweep_secs": 0.5, "child_environment": ["HOME"]}
    environment = {**os.environ, "WARDROOM_TIMINGS": json.dumps(given)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "7 0.5 ['HOME']\n"


def test_other_numbers_of_a_test_end_with_their_block(timings: Any) -> None:
    before = LIMITS.claim_tries
    with timings(claim_tries=before + 1, roles={}):
        assert (LIMITS.claim_tries, LIMITS.roles) == (before + 1, {})
    assert Limits() == LIMITS
