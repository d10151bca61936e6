"""`{% load wardroom_front %}`: what the admin's front page shows."""

from __future__ import annotations

from typing import Any

from django import template

from orchestration.adminsite import dashboard

register = template.Library()


@register.inclusion_tag("admin/orchestration/front.html", takes_context=True)
def front_page(context: Any) -> dict[str, Any]:
    """The part that moves, for this reader."""
    return dashboard.context(context["request"])
