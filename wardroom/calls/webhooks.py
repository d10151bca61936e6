"""The calls about webhooks that are one request each, for `Client` and `AsyncClient`. They need `webhooks:write`."""

from typing import Any

from wardroom.calls.requests import Answer, Requests, at


class WebhookCalls(Requests[Answer]):
    """Receivers of events, and the deliveries to them."""

    def add_webhook(self, url: str, **fields: Any) -> Answer:
        """Add a receiver. The answer shows the secret that signs, once. `fields` as in `POST webhooks`."""
        return self.post("webhooks", {"url": url, **fields})

    def webhook(self, id: str) -> Answer:
        """Return one webhook, without its secret."""
        return self.get(at("webhooks", id))

    def replace_webhook(self, id: str, url: str, types: list[str], **fields: Any) -> Answer:
        """Replace its settings. Enabled again, it goes on where it stopped."""
        return self.put(at("webhooks", id), {"url": url, "types": types, **fields})

    def delete_webhook(self, id: str) -> Answer:
        """Remove it, with its deliveries."""
        return self.delete(at("webhooks", id))

    def rotate_webhook(self, id: str) -> Answer:
        """Make a new secret, which is shown once. For a day, each request has a signature of both."""
        return self.post(at("webhooks", id, "rotate"), {})

    def test_webhook(self, id: str) -> Answer:
        """Send an event `webhook_test`. Its outcome is among the deliveries."""
        return self.post(at("webhooks", id, "test"), {})

    def redrive_delivery(self, id: str) -> Answer:
        """Send a delivery again now, with the same `webhook-id`."""
        return self.post(at("deliveries", id, "redrive"), {})
