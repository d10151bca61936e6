"""The REST routes of approvals, under /api/v1/."""

urlpatterns: list[object] = []
