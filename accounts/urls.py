"""accounts has no REST of its own: keys and projects are minted by staff."""

urlpatterns: list[object] = []
