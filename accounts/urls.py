"""accounts has no REST of its own: keys and projects are minted by staff."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
