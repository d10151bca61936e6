"""`{% load wardroom_front %}`: the content of the admin's front page."""

from __future__ import annotations

from typing import Any

from django import template

from orchestration.adminsite import dashboard

register = template.Library()


@register.inclusion_tag("admin/orchestration/front.html", takes_context=True)
def front_page(context: Any) -> dict[str, Any]:
    """Render the part that updates itself, for this user."""
    return dashboard.context(context["request"])
