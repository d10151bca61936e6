"""The REST routes of approvals, under /api/v1/."""

from django.urls import path

from approvals.api import receipts, views

urlpatterns = [
    path("approvals", views.Approvals.as_view()),
    path("approvals/count", views.ApprovalCount.as_view()),
    path("approvals/<any_uuid:approval_id>", views.OneApproval.as_view()),
    path("approvals/<any_uuid:approval_id>/receipt", receipts.Receipt.as_view()),
    path("approvals/<any_uuid:approval_id>/decide", views.Decide.as_view()),
    path("approvals/<any_uuid:approval_id>/withdraw", views.Withdraw.as_view()),
    path("approvals/<any_uuid:approval_id>/fallback", views.RecordFallback.as_view()),
    path("approvals/<any_uuid:approval_id>/consume", views.Consume.as_view()),
]
