"""Every setting that `WARDROOM_TIMINGS` may replace has a type and bounds; its own value is within them."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import timings
from config.defaults import WARDROOM


def test_every_setting_is_within_its_own_bounds_and_has_a_limit() -> None:
    for name, value in WARDROOM.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = timings.bounds(name)
            assert 0 <= low <= value <= high < 10**10, name
            with pytest.raises(ImproperlyConfigured, match=name):
                timings.checked({name: high * 2 + 1})
    assert timings.checked({}) == WARDROOM
