"""The calls about rules and reviewers that are one request each, for `Client` and `AsyncClient`.

Changes need `rules:write`.
"""

from typing import Any

from wardroom.calls.requests import Answer, Requests, at, given


class RuleCalls(Requests[Answer]):
    """Rules for requests, and the reviewers that they name."""

    def add_rule(self, name: str, outcome: str, **fields: Any) -> Answer:
        """Add a rule. It counts for the next request. `fields` as in `POST rules` (match, approvers, shadow, ...)."""
        return self.post("rules", {"name": name, "outcome": outcome, **fields})

    def rule(self, id: str) -> Answer:
        """Return one rule."""
        return self.get(at("rules", id))

    def replace_rule(self, id: str, name: str, outcome: str, **fields: Any) -> Answer:
        """Replace a rule. With a `version`, only if it still has that version."""
        return self.put(at("rules", id), {"name": name, "outcome": outcome, **fields})

    def delete_rule(self, id: str) -> Answer:
        """Delete a rule. Requests that were asked under it keep its demands."""
        return self.delete(at("rules", id))

    def preview_rule(self, rule: dict[str, Any], days: int | None = None) -> Answer:
        """Judge the requests of the last days by a rule that need not be stored. It changes nothing."""
        return self.post("rules/preview", {"rule": rule, **given(days=days)})

    def add_reviewer(self, name: str, **fields: Any) -> Answer:
        """Add a reviewer, with a `url` or an `entry_point`. The answer shows the secret of a webhook, once."""
        return self.post("reviewers", {"name": name, **fields})

    def reviewer(self, id: str) -> Answer:
        """Return one reviewer, without its secret."""
        return self.get(at("reviewers", id))

    def replace_reviewer(self, id: str, name: str, **fields: Any) -> Answer:
        """Replace the settings of a reviewer. It keeps its kind, its secret, and its name while rules name it."""
        return self.put(at("reviewers", id), {"name": name, **fields})

    def delete_reviewer(self, id: str) -> Answer:
        """Delete a reviewer that no rule names."""
        return self.delete(at("reviewers", id))

    def rotate_reviewer(self, id: str) -> Answer:
        """Make a new secret of a webhook, which is shown once. For a day, each call has a signature of both."""
        return self.post(at("reviewers", id, "rotate"), {})
