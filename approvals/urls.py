"""The REST routes of approvals, under /api/v1/."""

from django.urls import path

from approvals.api import batch, grant_views, life_views, outcome_views, plan_views, receipts, reviewers, rules, views

urlpatterns = [
    path("approvals", views.Approvals.as_view()),
    path("approvals/count", views.ApprovalCount.as_view()),
    path("approvals/batch-decide", batch.BatchDecide.as_view()),
    path("approvals/<any_uuid:approval_id>", views.OneApproval.as_view()),
    path("approvals/<any_uuid:approval_id>/receipt", receipts.Receipt.as_view()),
    path("approvals/<any_uuid:approval_id>/tool-schema", views.ToolSchema.as_view()),
    path("approvals/<any_uuid:approval_id>/decide", views.Decide.as_view()),
    path("approvals/<any_uuid:approval_id>/reveal", views.Reveal.as_view()),
    path("approvals/<any_uuid:approval_id>/withdraw", views.Withdraw.as_view()),
    path("approvals/<any_uuid:approval_id>/fallback", views.RecordFallback.as_view()),
    path("approvals/<any_uuid:approval_id>/consume", views.Consume.as_view()),
    path("approvals/<any_uuid:approval_id>/claim", life_views.Claim.as_view()),
    path("approvals/<any_uuid:approval_id>/release", life_views.Release.as_view()),
    path("approvals/<any_uuid:approval_id>/delegate", life_views.Delegate.as_view()),
    path("approvals/<any_uuid:approval_id>/snooze", life_views.Snooze.as_view()),
    path("approvals/<any_uuid:approval_id>/extend", life_views.Extend.as_view()),
    path("approvals/<any_uuid:approval_id>/escalate", life_views.Escalate.as_view()),
    path("approvals/<any_uuid:approval_id>/remind", life_views.Remind.as_view()),
    path("approvals/<any_uuid:approval_id>/ask-back", life_views.AskBack.as_view()),
    path("approvals/<any_uuid:approval_id>/questions", life_views.Questions.as_view()),
    path("approvals/<any_uuid:approval_id>/questions/<any_uuid:question_id>/answer", life_views.Answer.as_view()),
    path("approvals/<any_uuid:approval_id>/outcome", outcome_views.Outcome.as_view()),
    path("approvals/<any_uuid:approval_id>/unknown-outcome", outcome_views.UnknownOutcome.as_view()),
    path("approvals/<any_uuid:approval_id>/history", life_views.History.as_view()),
    path("plans", plan_views.Plans.as_view()),
    path("plans/<any_uuid:plan_id>", plan_views.OnePlan.as_view()),
    path("plans/<any_uuid:plan_id>/revoke", plan_views.RevokePlan.as_view()),
    path("grants", grant_views.Grants.as_view()),
    path("grants/<any_uuid:grant_id>", grant_views.OneGrant.as_view()),
    path("grants/<any_uuid:grant_id>/revoke", grant_views.Revoke.as_view()),
    path("reviewers", reviewers.Reviewers.as_view()),
    path("reviewers/<any_uuid:reviewer_id>", reviewers.OneReviewer.as_view()),
    path("reviewers/<any_uuid:reviewer_id>/rotate", reviewers.Rotate.as_view()),
    path("rules", rules.Rules.as_view()),
    path("rules/preview", rules.Preview.as_view()),
    path("rules/<any_uuid:rule_id>", rules.OneRule.as_view()),
]
