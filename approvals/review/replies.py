"""Read the reply of a reviewer. Only an exact leading verdict counts: a model that argues has given none."""

from __future__ import annotations

from dataclasses import dataclass

from approvals.states import ReviewState
from core.display.redaction import redacted

#: The verdicts by their word. The first line is one of these, and nothing else.
VERDICTS = {"ALLOW": ReviewState.ALLOW, "DENY": ReviewState.DENY, "ASK": ReviewState.ASK}
#: The characters of a note that are kept.
MOST_NOTE = 2000
UNCLEAR = "the first line is none of ALLOW, DENY, ASK"
LATE = "no verdict in time"


@dataclass(frozen=True, slots=True)
class Reply:
    """A verdict with a note for people, or `failed` with the reason in the note, before the reviewer's own words."""

    state: ReviewState
    note: str = ""
    #: The part of the note that is Wardroom's own.
    why: str = ""

    @classmethod
    def failed(cls, why: str, said: str = "") -> Reply:
        """Return the reply of a reviewer that has given no verdict. `said` are its own words, which nobody verified."""
        return cls(ReviewState.FAILED, _kept(": ".join(filter(None, (why, said)))), why)


def read(text: str, media_type: str = "") -> Reply:
    """Return the verdict of a reply. The whole first line must be the word, in capitals, as ASCII.

    Without a verdict nobody sees the text. A webhook's URL may be that of a service inside that knows no reviews, and
    whoever may add a reviewer must not read its answers.
    """
    first, _, rest = text.partition("\n")
    state = VERDICTS.get(first.rstrip(" \t\r"))
    if state is None:
        what = f" of {media_type}" if media_type else ""
        return Reply.failed(f"{UNCLEAR} ({len(text):,} characters{what})" if text.strip() else "the reply is empty")
    return Reply(state, _kept(rest))


def _kept(text: str) -> str:
    # PostgreSQL stores no NUL. Lone surrogates cannot be encoded.
    plain = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return redacted(plain).strip()[:MOST_NOTE]
