"""The lists of REST, over all pages, for `Client` and `AsyncClient`."""

from typing import Any, Generic, TypeVar

from wardroom.calls.requests import at

#: An iterator, or an asynchronous iterator, of the items as their JSON.
Items = TypeVar("Items")


class Lists(Generic[Items]):
    """Each yields every item that matches the query. A client says how a page is fetched."""

    def sessions(self, **query: Any) -> Items:
        """Yield every session that matches the query, newest first."""
        return self._pages("sessions", query)

    def attempts(self, session: str, **query: Any) -> Items:
        """Yield the attempts of a session, oldest first."""
        return self._pages(at("sessions", session, "attempts"), query)

    def session_history(self, session: str) -> Items:
        """Yield the transcript of a session, with its admitted messages."""
        return self._pages(at("sessions", session, "history"), {})

    def approvals(self, **query: Any) -> Items:
        """Yield approvals, e.g. `status="pending", session=id`."""
        return self._pages("approvals", query)

    def mailbox_messages(self, address: str, **query: Any) -> Items:
        """Yield the messages at an address, in their order. Reading changes nothing."""
        return self._pages(at("mailboxes", address, "messages"), query)

    def quarantine(self, **query: Any) -> Items:
        """Yield the messages that could not be read or handled, oldest first."""
        return self._pages("quarantine", query)

    def rules(self, **query: Any) -> Items:
        """Yield the rules of the project, by name."""
        return self._pages("rules", query)

    def reviewers(self, **query: Any) -> Items:
        """Yield the reviewers of the project, by name."""
        return self._pages("reviewers", query)

    def grants(self, **query: Any) -> Items:
        """Yield the grants that match the query."""
        return self._pages("grants", query)

    def plans(self, **query: Any) -> Items:
        """Yield the approved plans, newest first."""
        return self._pages("plans", query)

    def webhooks(self, **query: Any) -> Items:
        """Yield the webhooks of the project, oldest first."""
        return self._pages("webhooks", query)

    def webhook_deliveries(self, id: str, **query: Any) -> Items:
        """Yield the deliveries of a webhook, newest first."""
        return self._pages(at("webhooks", id, "deliveries"), query)

    def audit(self, *, after: int | None = None, **query: Any) -> Items:
        """Yield the rows of the audit chain by number. It needs `audit:read`."""
        return self._pages("audit", {"after": after, **query}, position="after")

    def _pages(self, path: str, query: dict[str, Any], position: str = "cursor") -> Items:
        raise NotImplementedError
