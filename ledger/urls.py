"""The REST routes of ledger, under /api/v1/."""

from django.urls import URLPattern, path

from ledger.api import audit, feed, webhooks

urlpatterns: list[URLPattern] = [
    path("audit", audit.AuditView.as_view(), name="audit"),
    path("feed", feed.FeedView.as_view(), name="feed"),
    path("webhooks", webhooks.Webhooks.as_view()),
    path("webhooks/<any_uuid:webhook_id>", webhooks.OneWebhook.as_view()),
    path("webhooks/<any_uuid:webhook_id>/test", webhooks.TestWebhook.as_view()),
    path("webhooks/<any_uuid:webhook_id>/rotate", webhooks.Rotate.as_view()),
    path("webhooks/<any_uuid:webhook_id>/deliveries", webhooks.Deliveries.as_view()),
    path("deliveries/<any_uuid:delivery_id>/redrive", webhooks.Redrive.as_view()),
]
