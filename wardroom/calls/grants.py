"""The calls about grants that are one request each, for `Client` and `AsyncClient`."""

from wardroom.calls.requests import Answer, Requests, at


class GrantCalls(Requests[Answer]):
    """Look at grants, and end them. A grant is born from `decide(..., remember={...})`."""

    def grant(self, id: str) -> Answer:
        """Return one grant, with the number of its uses."""
        return self.get(at("grants", id))

    def revoke_grant(self, id: str) -> Answer:
        """End a grant now. It lets nothing through any more."""
        return self.post(at("grants", id, "revoke"), {})
