"""Reviewers: functions that look at requests for approval before people do.

    def careful(request):
        if "rm -rf" in json.dumps(request["request"]["arguments"]):
            return "DENY\\nIt deletes folders."
        return "ASK"

A package names the function at the entry point `wardroom.reviewers`. It runs in a process of its own for each request,
and the process is killed at the deadline. `request["prompt"]` is a text for a model. See docs/review.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["GROUP", "Reviewer"]

#: The entry point group in which a package names its reviewers.
GROUP = "wardroom.reviewers"

#: Gets the request, and returns the verdict: ALLOW, DENY or ASK as the first line, then a note.
Reviewer = Callable[[Mapping[str, Any]], str]
