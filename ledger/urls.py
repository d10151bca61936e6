"""The REST routes of ledger, under /api/v1/."""

urlpatterns: list[object] = []
