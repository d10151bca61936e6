"""The REST routes of approvals, under /api/v1/."""

from django.urls import path

from approvals import api

urlpatterns = [
    path("approvals", api.Approvals.as_view()),
    path("approvals/count", api.ApprovalCount.as_view()),
    path("approvals/<any_uuid:approval_id>", api.OneApproval.as_view()),
    path("approvals/<any_uuid:approval_id>/wait", api.Wait.as_view()),
    path("approvals/<any_uuid:approval_id>/decide", api.Decide.as_view()),
    path("approvals/<any_uuid:approval_id>/withdraw", api.Withdraw.as_view()),
    path("approvals/<any_uuid:approval_id>/consume", api.Consume.as_view()),
]
