"""The REST routes of orchestration, under /api/v1/."""

urlpatterns: list[object] = []
