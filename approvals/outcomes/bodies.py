"""The bodies of the calls about an outcome."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from approvals.bodies import MAX_TEXT, MAX_WORD, Arguments, Text, unstorable
from approvals.states import REPORTS, SETTLEMENTS
from core.web.fields import Body, one_of, says, text
from wardroom import jcs

MAX_PROBE_BYTES = 16 * 1024


def too_large(value: Any) -> str | None:
    """Return why the answer of a probe is not stored, or None."""
    try:
        size = len(jcs.canonical(value).encode())
    except jcs.CanonicalError as error:
        return str(error)
    return None if size <= MAX_PROBE_BYTES else f"is larger than {MAX_PROBE_BYTES} bytes"


Probe = Annotated[
    Arguments,
    says("What the executor read back from the changed system, at most 16 KiB. Shown to the staff as unverified."),
    Meta(extra={"check": too_large}),
]


class ApprovalOutcomeReport(Body, frozen=True):
    outcome: Annotated[str, one_of([each.value for each in REPORTS], says="`unknown`: the executor cannot tell.")]
    claim: Annotated[str, text(MAX_WORD, 1, says="The claim of the consumption, if it had one.")] | None = None
    detail: Annotated[Text, says("For the staff, unverified.")] | None = None
    probe: Probe | None = None


class ApprovalUnknownOutcome(Body, frozen=True):
    settled_as: Annotated[str, one_of([each.value for each in SETTLEMENTS])]
    note: Annotated[str, text(MAX_TEXT, 1, check=unstorable, says="For the staff: how you know.")]
