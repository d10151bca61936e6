"""The calls about rules that are one request each, for `Client` and `AsyncClient`. Changes need `rules:write`."""

from typing import Any

from wardroom.calls.requests import Answer, Requests, at, given


class RuleCalls(Requests[Answer]):
    """Rules that answer requests, or say who must."""

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
