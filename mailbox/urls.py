"""The REST routes of mailbox, under /api/v1/."""

urlpatterns: list[object] = []
