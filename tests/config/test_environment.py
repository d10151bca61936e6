"""Variables with types: an error names the variable."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from core import environment


@pytest.mark.parametrize("value", ['{"acme": 1}', '{"": "x"}', '{"acme": ""}', "[]"])
def test_an_object_of_texts_names_the_wrong_one(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PROVIDERS", value)
    with pytest.raises(ImproperlyConfigured, match="PROVIDERS"):
        environment.texts("PROVIDERS")
    monkeypatch.setenv("PROVIDERS", '{"acme": "openai"}')
    assert environment.texts("PROVIDERS") == {"acme": "openai"}
