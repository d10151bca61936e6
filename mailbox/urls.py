"""The REST routes of mailbox, under /api/v1/."""

from django.urls import URLPattern, path

from mailbox.api import quarantine, questions, views

urlpatterns: list[URLPattern] = [
    path("mailboxes/<str:address>", views.Mailbox.as_view()),
    path("mailboxes/<str:address>/messages", views.Messages.as_view()),
    path("mailboxes/<str:address>/drain", views.Drain.as_view()),
    path("mailboxes/<str:address>/ack", views.Ack.as_view()),
    path("mailboxes/<str:address>/nack", views.Nack.as_view()),
    path("mailboxes/<str:address>/recover", views.Recover.as_view()),
    path("mailboxes/<str:address>/extend", views.Extend.as_view()),
    path("mailboxes/<str:address>/reply", questions.Reply.as_view()),
    path("quarantine", quarantine.Quarantine.as_view()),
    path("quarantine/<any_uuid:quarantine_id>", quarantine.OneQuarantined.as_view()),
    path("quarantine/<any_uuid:quarantine_id>/requeue", quarantine.Requeue.as_view()),
    path("quarantine/<any_uuid:quarantine_id>/discard", quarantine.Discard.as_view()),
]
