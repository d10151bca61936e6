"""Hooks for schemathesis beside docs/openapi.yaml. `schemathesis.toml` names this file.

The current state can refuse a valid call: an `Idempotency-Key` that meant another call, a program that is not
installed, a parent that is too deep. The document lists such fields of an operation under `x-depends-on-state`. Every
other 422 for valid data is a failure.
"""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis.strategies._internal import regex

_strategy, _classes = regex._strategy, dict[str, Any]()


def strategy(codes: Any, context: Any, is_unicode: bool, *, alphabet: Any) -> Any:
    """Build the strategy of a character class once.

    hypothesis expands its ranges by character: one second for a printable text, which each operation has. A minute
    was enough for one operation in ten.
    """
    if type(codes) is not tuple or str(codes[0]) != "IN":
        return _strategy(codes, context, is_unicode, alphabet=alphabet)
    key = repr((codes, context.flags, is_unicode, alphabet))
    if key not in _classes:
        _classes[key] = _strategy(codes, context, is_unicode, alphabet=alphabet)
    return _classes[key]


regex._strategy = strategy


@schemathesis.check
def valid_data_is_refused_only_for_what_stands(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """The errors of a 422 for valid data name fields that depend on the state."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    known = case.operation.definition.raw.get("x-depends-on-state", [])
    errors = json.loads(response.content).get("errors", [])
    strangers = [error for error in errors if error["field"].split(".")[0] not in known]
    assert errors and not strangers, f"valid data was refused: {strangers or 'without a word'}"
