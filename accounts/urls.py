"""This app has no REST calls: staff mint keys and projects in the admin."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
