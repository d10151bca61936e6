"""The people to tell about an event of a request, and the time at which each wants to hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from accounts.models import User
from approvals import permissions
from approvals.models import Approval, NotifyPreference, Question
from approvals.rules import rights

#: The most people that are told of one event.
MOST_PEOPLE = 50


def people(approval: Approval, type: str, payload: dict[str, Any]) -> list[User]:
    """Return the people to tell about this event. Each of them may answer the request.

    An answer to a question is for the person that asked it; everything else is for the persons and groups that the
    request is handed to, or else for everybody that may answer.
    """
    able = permissions.approvers(approval.project_id).filter(is_active=True)
    if type == "approval_answered":
        question = Question.objects.filter(pk=payload["question_id"]).first()
        asked_by = None if question is None else question.asked_by.get("user_id")
        return [] if asked_by is None else list(able.filter(pk=asked_by))
    handed = payload.get("targets") or [payload.get("to") or approval.assigned_to]
    named = [target for target in handed if target]
    if named:
        users = [target["name"] for target in named if target["kind"] == "user"]
        groups = [target["name"] for target in named if target["kind"] == "group"]
        able = (able.filter(username__in=users) | able.filter(groups__name__in=groups)).distinct()
    return [user for user in able.order_by("pk")[:MOST_PEOPLE] if rights.is_named(approval, user)]


def preferences(users: Sequence[User]) -> dict[int, NotifyPreference]:
    """Return the preferences of these people by their ids."""
    found = {each.user_id: each for each in NotifyPreference.objects.filter(user__in=users)}
    return {user.pk: found.get(user.pk) or NotifyPreference(user=user) for user in users}


def due(users: Iterable[User], wishes: dict[int, NotifyPreference], now: datetime) -> dict[str, datetime]:
    """Return the targets for these people, with the time at which each is told. A room is told once for all of them."""
    found: dict[str, datetime] = {}
    for user in users:
        wish = wishes[user.pk]
        at = after_quiet(wish, now + timedelta(seconds=wish.batch_secs))
        if wish.mail and user.email and settings.EMAIL_HOST:
            found[f"user:{user.pk}"] = at
        if wish.chat in settings.CHAT_URLS:
            room = f"room:{wish.chat}"
            found[room] = min(at, found.get(room, at))
    return found


def after_quiet(wish: NotifyPreference, at: datetime) -> datetime:
    """Return this time, or the end of the person's quiet hours if it lies in them."""
    start, end = wish.quiet_from, wish.quiet_until
    if start is None or end is None or start == end:
        return at
    zone = ZoneInfo(wish.time_zone)
    local = at.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    is_quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not is_quiet:
        return at
    day = local.date() + timedelta(days=1) if clock >= end else local.date()
    return datetime.combine(day, end, zone).astimezone(at.tzinfo)
