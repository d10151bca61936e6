"""Turn the notices of one target into one message, in one transaction."""

from __future__ import annotations

import uuid
from itertools import groupby

import msgspec

from accounts.models import User
from approvals import permissions
from approvals.models import Notice, NotifyPreference, Told
from approvals.notify import texts
from approvals.states import NoticeKind, Status
from core.db.clock import database_now
from ledger import sweep_batch, unit_of_work
from ledger.deliveries import lanes
from ledger.models import Delivery
from ledger.sweep_batch import Work

WORK = Work("deliveries_sweep", "notices")
MAIL_LANE = "mail:smtp"
#: The messages of a thread that a follow-up refers to.
MOST_REFERENCES = 10


class Letter(msgspec.Struct, frozen=True):
    """The payload of a delivery by mail or chat. `references` are ids of earlier deliveries."""

    to: str
    subject: str
    text: str
    references: list[str] = []


def send_due() -> int:
    """Make a message for each target with a notice that is due. Return the number of messages."""
    due = Notice.objects.filter(due_at__lte=database_now()).order_by("target").values_list("target", flat=True)
    return sweep_batch.each(WORK, lambda most: due.distinct()[:most], send)


def send(target: str) -> int:
    """Make one message for each project, of all notices of a target. Return their number."""
    with unit_of_work.transaction():
        # Of two processes, the second one finds nothing.
        waiting = Notice.objects.select_for_update(of=("self",)).filter(target=target)
        notices = list(waiting.select_related("approval__project").order_by("approval__project", "created_at", "pk"))
        Notice.objects.filter(pk__in=[each.pk for each in notices]).delete()
        user = None
        if target.startswith("user:"):
            user = User.objects.filter(pk=target.partition(":")[2], is_active=True).first()
            if user is None or not user.email:
                return 0
        sent = 0
        for project_id, group in groupby(notices, key=lambda each: each.approval.project_id):
            if user is None or permissions.may_decide(user, project_id):
                sent += _message(target, user, list(group))
        return sent


def _message(target: str, user: User | None, notices: list[Notice]) -> int:
    told = dict(Told.objects.filter(target=target).values_list("approval_id", "message"))
    wish = None if user is None else NotifyPreference.objects.filter(user=user).first()
    asks = [each for each in notices if each.kind != NoticeKind.SETTLED and each.approval.status == Status.PENDING]
    ends = [each for each in notices if each.kind == NoticeKind.SETTLED and each.approval_id in told]
    if wish is not None and not wish.settled:
        ends = []
    if not asks and not ends:
        return 0
    references = list(dict.fromkeys(str(told[each.approval_id]) for each in (*asks, *ends) if each.approval_id in told))
    letter = Letter(
        to=target.partition(":")[2] if user is None else user.email,
        subject=texts.subject(asks, ends),
        text=texts.body(asks, ends),
        references=references[:MOST_REFERENCES],
    )
    row = Delivery(
        id=uuid.uuid4(),
        project_id=notices[0].approval.project_id,
        lane=f"chat:{letter.to}" if user is None else MAIL_LANE,
        key=f"notice:{uuid.uuid4()}",
        receiver=letter.to if user is None else user.get_username(),
        type=f"approvals_{asks[0].kind if asks else NoticeKind.SETTLED.value}",
        payload=msgspec.json.encode(letter).decode(),
    )
    lanes.ensure([row.lane])
    row.save(force_insert=True)
    new = [Told(target=target, approval=each.approval, message=row.pk) for each in asks if each.approval_id not in told]
    Told.objects.bulk_create(new, ignore_conflicts=True)
    return 1
