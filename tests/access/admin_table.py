"""Every page of the admin: the permissions to read it, and the permissions to change something by its form.

`tests/access/test_admin.py` compares the table with the URLconf, and each row with the answers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accounts.models import Project, User
from approvals.models import Approval, Rule

#: All of these are needed. `a|b` is either of two.
Needs = tuple[str, ...]
Form = Callable[["Rows"], dict[str, Any]]
Rows = Mapping[Any, Any]
EVERY_STAFF: Needs = ()
SUPERUSER: Needs = ("superuser",)
UNKNOWN, PLANNED, PERSON = "an unknown outcome", "a plan", "the person"


@dataclass(frozen=True)
class Page:
    """The permissions to read a page and to send its form. None: nobody may, a superuser included."""

    get: Needs | None
    post: Needs | None = None
    form: Form | None = None
    #: The name of the row that the address is about, where it is not the usual one of its model.
    row: str = ""
    #: Further permissions without which the form has nothing to choose from.
    beside: Needs = ()


def form(**values: Any) -> Form:
    return lambda rows: values


STEER, STOP = "orchestration.change_session", "orchestration.stop_session"
SESSION = f"orchestration.view_session|{STEER}"
LOOK, DECIDE, SECRETS = "approvals.view_approval|approvals.decide", "approvals.decide", "approvals.view_secrets"
GRANT = "approvals.view_grant|approvals.view_approval|approvals.decide"
RULE, RULES = "approvals.view_rule|approvals.change_rule", "approvals.change_rule"
HOOK = "ledger.change_webhook"
INSPECT, REQUEUE = "mailbox.inspect_quarantine", "mailbox.requeue"


def stock(app: str, model: str) -> Needs:
    """Return the readers of a model as the stock admin has it: the right to change includes the right to see."""
    return (f"{app}.view_{model}|{app}.change_{model}",)


KEY, PROJECT = stock("accounts", "credential"), stock("accounts", "project")

#: The reader of the four stock pages of each model: list, page, history, and the redirect to the page.
MODELS = {
    "orchestration_session": (SESSION,),
    "approvals_approval": (LOOK,),
    "approvals_grant": (GRANT,),
    "approvals_plan": (LOOK,),
    "approvals_rule": (RULE,),
    "approvals_reviewer": (RULES,),
    "mailbox_message": stock("mailbox", "message"),
    "mailbox_quarantined": (INSPECT,),
    "ledger_webhook": stock("ledger", "webhook"),
    "ledger_delivery": stock("ledger", "delivery"),
    "ledger_event": stock("ledger", "event"),
    "ledger_auditentry": stock("ledger", "auditentry"),
    "ledger_outboxentry": stock("ledger", "outboxentry"),
    "ledger_sweep": stock("ledger", "sweep"),
    "accounts_credential": KEY,
    "accounts_project": PROJECT,
    "accounts_user": SUPERUSER,
    "auth_group": SUPERUSER,
}


def shown(rows: Rows) -> str:
    approval = rows[Approval]
    return f"{approval.pk}:{approval.version}:{approval.digest}"


def deny(rows: Rows) -> dict[str, Any]:
    return {"decision": "deny", "version": rows[Approval].version, "digest": rows[Approval].digest}


def rule(rows: Rows) -> dict[str, Any]:
    values = {
        "name": "made by form",
        "outcome": "deny",
        "quorum": "1",
        "deadline_secs": "600",
        "on_expiry": "expire",
        "enabled": "on",
    }
    return {**values, "project": str(rows[Project].pk), "version": str(rows[Rule].version)}


def reviewer(rows: Rows) -> dict[str, Any]:
    return {"name": "made by form", "url": "https://r.example/", "at_once": "3", "project": str(rows[Project].pk)}


def webhook(rows: Rows) -> dict[str, Any]:
    return {"name": "by form", "url": "https://r.example/", "types": "*", "project": str(rows[Project].pk)}


def key(rows: Rows) -> dict[str, Any]:
    return {"name": "k", "project": str(rows[Project].pk), "scopes": ["feed:read"]}


def person(rows: Rows) -> dict[str, Any]:
    user: User = rows[PERSON]
    joined = user.date_joined
    when = {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    return {"username": user.username, "first_name": "Changed", "is_active": "on", **when}


def chosen(action: str, *rows_of: Any, **more: str) -> Form:
    return lambda rows: {"action": action, "_selected_action": [str(rows[each].pk) for each in rows_of], **more}


PASSWORDS = {"password1": "Long-enough-9", "password2": "Long-enough-9"}
MESSAGE = '{"message_kind": "task", "body": "again"}'
QUIET = {"mail": "", "batch_secs": "77", "quiet_from": "", "quiet_until": "", "time_zone": "UTC"}
PART = Page((LOOK,))
#: Our own pages by the name of their address, and stock pages of which a form changes something.
PAGES = {
    "orchestration_session_front": Page(EVERY_STAFF),
    "orchestration_session_body": Page((SESSION,)),
    "orchestration_session_cancel": Page((SESSION, STOP), (SESSION, STOP), form(reason="enough")),
    "orchestration_session_message": Page((SESSION, STEER), (SESSION, STEER), form(id=str(uuid.uuid4()), text="stop")),
    "approvals_approval_queue": PART,
    "approvals_approval_figures": PART,
    "approvals_approval_figures_part": PART,
    "approvals_approval_preferences": Page((LOOK,), (LOOK,), form(**QUIET)),
    "approvals_approval_answers": Page((LOOK,), (DECIDE,), lambda rows: {"deny": shown(rows)}),
    "approvals_approval_part": PART,
    "approvals_approval_step": Page((LOOK,), (DECIDE,), form(step="claim")),
    "approvals_approval_outcome": Page((LOOK,), (DECIDE,), form(settled_as="ran", note="seen"), UNKNOWN),
    "approvals_approval_reveal": Page((LOOK,), (LOOK, SECRETS), form()),
    "approvals_approval_revoke_plan": Page((LOOK,), (DECIDE,), form(), PLANNED),
    "approvals_approval_decide": Page((LOOK,), (DECIDE,), deny),
    "approvals_grant_revoke": Page((GRANT,), (DECIDE,), form()),
    "approvals_rule_add": Page(("approvals.add_rule",), ("approvals.add_rule",), rule),
    "approvals_rule_change": Page((RULE,), ("approvals.change_rule",), rule),
    "approvals_rule_remove": Page((RULE, "approvals.delete_rule"), (RULE, "approvals.delete_rule"), form()),
    "approvals_reviewer_add": Page((RULES,), (RULES,), reviewer),
    "approvals_reviewer_change": Page((RULES,), (RULES,), reviewer),
    "approvals_reviewer_rotate": Page((RULES,), (RULES,), form()),
    "approvals_reviewer_remove": Page((RULES,), (RULES,), form()),
    "mailbox_quarantined_raw": Page((INSPECT,)),
    "mailbox_quarantined_requeue": Page(
        (INSPECT, REQUEUE), (INSPECT, REQUEUE), form(edited=MESSAGE, address="plain-box")
    ),
    "mailbox_quarantined_discard": Page((INSPECT, REQUEUE), (INSPECT, REQUEUE), form(note="noise")),
    "ledger_webhook_add": Page((HOOK,), (HOOK,), webhook),
    "ledger_webhook_edit": Page((HOOK,), (HOOK,), webhook),
    "ledger_webhook_rotate": Page((HOOK,), (HOOK,), form()),
    "ledger_webhook_test": Page((HOOK,), (HOOK,), form()),
    "ledger_webhook_remove": Page((HOOK,), (HOOK,), form()),
    "ledger_delivery_redrive": Page(("ledger.change_delivery",), ("ledger.change_delivery",), form()),
    "accounts_credential_mint": Page(
        ("accounts.add_credential",), ("accounts.add_credential",), key, beside=("ledger.view_event",)
    ),
    "accounts_credential_end": Page((*KEY, "accounts.change_credential"), ("accounts.change_credential",), form()),
    "accounts_project_add": Page(("accounts.add_project",), ("accounts.add_project",), form(slug="new", name="New")),
    "accounts_project_change": Page(PROJECT, ("accounts.change_project",), form(name="Changed")),
    "accounts_user_add": Page(SUPERUSER, SUPERUSER, form(username="new", usable_password="true", **PASSWORDS)),
    "accounts_user_change": Page(SUPERUSER, SUPERUSER, person),
    "accounts_user_delete": Page(SUPERUSER, SUPERUSER, form(post="yes")),
    "auth_user_password_change": Page(SUPERUSER, SUPERUSER, form(usable_password="true", **PASSWORDS)),
    "auth_group_add": Page(SUPERUSER, SUPERUSER, form(name="new")),
    "auth_group_change": Page(SUPERUSER, SUPERUSER, form(name="changed")),
    "auth_group_delete": Page(SUPERUSER, SUPERUSER, form(post="yes")),
    "index": Page(EVERY_STAFF),
    "app_list": Page(EVERY_STAFF),
    "password_change": Page(EVERY_STAFF),
    "password_change_done": Page(EVERY_STAFF),
    "view_on_site": Page(EVERY_STAFF),
    "autocomplete": Page(None),
}
#: Lists with actions: the form of one of them.
ACTIONS = {
    "mailbox_quarantined_changelist": (
        (INSPECT, REQUEUE),
        chosen("discard_chosen", "quarantined", confirmed="yes", note="noise"),
    ),
    "accounts_user_changelist": (SUPERUSER, chosen("delete_selected", PERSON, post="yes")),
    "auth_group_changelist": (SUPERUSER, chosen("delete_selected", "group", post="yes")),
}
#: By their path, because they have no name.
UNNAMED = {
    "admin/r/<path:content_type_id>/<path:object_id>/": Page(EVERY_STAFF),
    "admin/(?P<url>.*)$": Page(EVERY_STAFF),
}
#: Open to everybody. They show nothing.
OPEN = {"login", "logout", "jsi18n"}


def table() -> dict[str, Page]:
    """Return every page, by the name of its address, or by its path if it has none."""
    found = dict(UNNAMED)
    for name, reader in MODELS.items():
        app, _, model = name.partition("_")
        found[f"admin/{app}/{model}/<path:object_id>/"] = Page(EVERY_STAFF)
        for kind in ("changelist", "history", "change"):
            found[f"{name}_{kind}"] = Page(reader)
        for kind in ("add", "delete"):
            found[f"{name}_{kind}"] = Page(None)
    found |= PAGES
    return found | {name: Page(found[name].get, needs, act) for name, (needs, act) in ACTIONS.items()}
