"""The audit row of a login lockout: the account, the address and the end.

django-axes counts wrong passwords and refuses the login by itself. It signals every refused try, not every lockout. A
lockout writes one row, for any number of further tries and any number of web processes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessAttemptExpiration
from django.conf import settings

from accounts import audit_hook, permission_audit
from accounts.actors import Actor
from accounts.models import User
from core.db import clock
from core.limits import LIMITS


def record(*, username: str | None, ip_address: str | None, **_: Any) -> None:
    """Write the row, unless this lockout has one. Receives the `user_locked_out` signal of axes.

    A name without an account gets no row: anybody may type it, and some people type their password there.
    """
    tries = AccessAttempt.objects.filter(username=username, ip_address=ip_address)
    # axes does not use its table of expirations with our settings. A row there marks the lockout as recorded. It is
    # deleted with the tries: when they expire, and when a right password or `axes_reset_username` ends the lockout.
    marks = AccessAttemptExpiration.objects.filter(access_attempt__in=tries)
    if marks.exists():
        return
    with audit_hook.transaction():
        # The lock ensures that only one of several processes sees no mark.
        user = User.objects.select_for_update(no_key=True).filter(username=username or "").first()
        found = list(tries.order_by("attempt_time", "pk"))
        if user is None or not found or marks.exists():
            return
        # The lockout ends when enough tries have expired. They are ordered oldest first, one for each browser.
        left = sum(each.failures_since_start for each in found)
        for each in found:
            last: datetime = each.attempt_time
            left -= each.failures_since_start
            if left < settings.AXES_FAILURE_LIMIT:
                break
        until = last + timedelta(seconds=LIMITS.login_lockout_secs)
        AccessAttemptExpiration.objects.create(access_attempt=found[0], expires_at=until)
        payload = {"name": user.get_username(), "address": ip_address, "until": clock.moment(until)}
        permission_audit.write(Actor.system("sign-in"), "login.locked_out", f"user:{user.pk}", payload, ())
