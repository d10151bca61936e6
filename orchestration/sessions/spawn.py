"""Spawn a session: turn an order into a stored session with its first attempt."""

import copy
import dataclasses
import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.conf import settings

from accounts import credentials
from accounts.actors import Actor
from accounts.models import CredentialKind, Project
from core.limits import LIMITS
from core.web import problems
from ledger import quota, unit_of_work
from orchestration.models import Session
from orchestration.places import turns
from orchestration.runners import process, registry
from orchestration.sessions import lifecycle, limits, roles, transitions
from orchestration.states import TERMINAL, Runner, Status
from wardroom.children import steps
from wardroom.runners import NewSession

RUNBOOK = "wardroom.children.runbook"
#: Arguments and environment share the kernel's limit (a quarter of the stack's limit, usually 2 MiB).
MAX_COMMAND_LINE_BYTES = 1024 * 1024
#: The length limits for the texts of an order, in characters.
LONGEST = {"assignment": 256 * 1024, "role": 64, "title": 300, "model": 200, "provider": 200, "reasoning_effort": 40}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOrder:
    """The fields of `POST sessions`, parsed but not yet checked."""

    assignment: str = ""
    role: str = ""
    parent: UUID | None = None
    runner: str | None = None
    command: tuple[str, ...] | None = None
    title: str = ""
    model: str | None = None
    provider: str | None = None
    reasoning_effort: str | None = None
    disabled_tools: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Spawned:
    """The new session.

    For `external` also the child's token, shown only once, and the address that the child connects to.
    """

    session: Session
    attempt: int
    child_token: str | None = dataclasses.field(default=None, repr=False)
    websocket_url: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """A checked order: its runner, its argv and its number of retries."""

    runner: str
    command: list[str] | None
    retries: int
    has_role_reach: bool


def spawn(project: Project, order: SpawnOrder, actor: Actor) -> Spawned:
    """Store the session and its first attempt, and record its pending launch, in one transaction.

    Everything is checked before anything is stored. Raises Problem: 422 with every error, 403 for a command without its
    scope, 404 for an unknown parent, 409 for a parent that is over, 429 for a parent with too many children, and for a
    project with a full queue.
    """
    plan = check(project, order, actor)
    with unit_of_work.transaction():
        transitions.fence(actor)
        parent = _parent(project, order, actor)
        turns.refuse_if_full(project.pk, plan.runner)
        if actor.session is not None:
            quota.keep(actor.session, order.assignment, order.metadata)
        session = _store(project, order, plan, parent, actor)
        payload = {"role": session.role, "title": session.title, "runner": session.runner, "depth": session.depth}
        payload |= {"parent": str(session.parent_id) if session.parent_id else None, "created_by": session.created_by}
        unit_of_work.event(project.pk, "session_created", payload, session=session.pk, attempt=1)
        unit_of_work.wake(f"session:{session.pk}")
        audited = ("role", "runner", "has_role_reach", "may_run_unasked")
        detail = {name: getattr(session, name) for name in audited}
        unit_of_work.audit(project.pk, actor, "session.spawn", str(session.pk), detail)
        session = transitions.new_attempt(session)
        token = mint(session) if plan.runner == Runner.EXTERNAL else None
    return Spawned(session, session.attempt, token, websocket_url(session.pk) if token else None)


def mint(session: Session) -> str:
    """Mint a token for the session's current attempt only."""
    _, token = credentials.mint(
        kind=CredentialKind.CHILD,
        project=session.project,
        scopes=roles.of(session).get("scopes", ()),
        subject=str(session.pk),
        attempt=session.attempt,
        name=f"child {session.pk}/{session.attempt}",
    )
    return token


def websocket_url(session_id: UUID) -> str:
    """Return the address that the child of this session connects to."""
    base = urlsplit(settings.WARDROOM_URL)
    scheme = "wss" if base.scheme == "https" else "ws"
    return base._replace(scheme=scheme, path=f"{base.path.rstrip('/')}/ws/children/{session_id}").geturl()


def fresh_token(project: Project, session_id: UUID, actor: Actor) -> Spawned:
    """Mint a new token for the current attempt of an `external` session and revoke the old one.

    Raises 403, 404, 409.
    """
    with unit_of_work.transaction():
        session = lifecycle.own(project, session_id)
        if session.runner != Runner.EXTERNAL:
            raise problems.conflict(
                "Only an `external` session has a token for its caller: Wardroom starts every other child itself."
            )
        if session.status not in (Status.STARTING, Status.RUNNING):
            raise problems.conflict(f"The session is {session.status}: no attempt waits for a child.", "not-running")
        if session.has_role_reach and not roles.may_use(actor, session.role):
            raise problems.forbidden(
                f"This session has what the role {session.role!r} gives, so its token needs the scope "
                "mailboxes:write and the role's own scopes, or sessions:command."
            )
        credentials.end_for_attempt(project.pk, str(session.pk), session.attempt)
        unit_of_work.audit(project.pk, actor, "session.token", str(session.pk), {"attempt": session.attempt})
        unit_of_work.wake(f"session:{session.pk}")
        return Spawned(session, session.attempt, mint(session), websocket_url(session.pk))


# --- checking an order --------------------------------------------------------------------------------------


def check(project: Project, order: SpawnOrder, actor: Actor) -> _Plan:
    """Check that this caller may spawn this order, and return its plan. Raises 403, 422.

    It may ask the code of plug-ins, so call it outside of a transaction.
    """
    # Some orders do not come by REST, and SQLite stores a text of any length in any column.
    texts = ((name, getattr(order, name) or "", most) for name, most in LONGEST.items())
    if errors := [_error(name, f"at most {most} characters") for name, text, most in texts if len(text) > most]:
        raise problems.invalid(errors)
    role = roles.named(order.role)
    if order.command is not None and not roles.may_command(actor):
        raise problems.forbidden("A custom command needs the scope sessions:command. Name a role instead.")
    command = list(order.command) if order.command is not None else role.get("command")
    runner = _runner(project, order, role, actor) or (Runner.PROCESS.value if command else "")
    errors = _runner_errors(order, runner, command, LIMITS.roles)
    # An early check for the certain case only. The runbook checks its assignment again, however it was started.
    if runner == Runner.PROCESS and RUNBOOK in (command or ()):
        if not steps.parse(order.assignment):
            errors.append(_error("assignment", "the runbook is empty: put one command on each line"))
        elif why := steps.refusal(order.assignment):
            errors.append(_error("assignment", why))
    errors += limits.errors(order.metadata)
    if errors:
        raise problems.invalid(errors, errors[0]["detail"])
    has_reach = roles.gives_reach(actor, order.role, runner, named=order.runner, command=order.command)
    retries = (role if has_reach else {}).get("retries", LIMITS.retries)
    return _Plan(runner, command if runner == Runner.PROCESS else None, retries, has_reach)


def _runner(project: Project, order: SpawnOrder, role: Mapping[str, Any], actor: Actor) -> str | None:
    """Return the runner that the order or its role names, else the first plug-in that takes it.

    A command of the caller is for a process: no plug-in is asked.
    """
    named = order.runner or role.get("runner")
    if named or order.command is not None:
        return named
    parent = order.parent or actor.session
    session = NewSession(
        project=project.slug,
        parent=str(parent) if parent else None,
        role=order.role,
        title=order.title,
        assignment=order.assignment,
        model=order.model,
        provider=order.provider,
        reasoning_effort=order.reasoning_effort,
        disabled_tools=order.disabled_tools,
        # A copy: what a plug-in changes is not stored.
        metadata=copy.deepcopy(dict(order.metadata)),
    )
    return registry.asked(session)


def _runner_errors(
    order: SpawnOrder, runner: str, command: list[str] | None, known_roles: Mapping[str, Any]
) -> list[dict[str, str]]:
    known = ", ".join(sorted(known_roles))
    if runner and runner not in registry.known():
        by = "" if order.runner else f" (the role {order.role!r} names it)"
        right = ", ".join(registry.known())
        return [_error("runner", f"must be one of {right}, and is {runner[:80]!r}{by}")]
    if order.role and order.role not in known_roles and runner in ("", Runner.PROCESS) and order.command is None:
        return [_error("role", f"the role {order.role!r} is not known on this server; known roles are: {known}")]
    if not runner:
        return [_error("role", f"name a role ({known}), a command, or the runner `external`")]
    if runner == Runner.PROCESS:
        return _command_errors(command)
    if order.command:
        how = "started by its caller" if runner == Runner.EXTERNAL else "run by its plug-in"
        return [_error("command", f"an `{runner}` child is {how}: it takes no command")]
    return []


def _command_errors(command: list[str] | None) -> list[dict[str, str]]:
    if not command:
        return [_error("command", "a process needs a command, or a role that has one")]
    if any("\0" in part for part in command):
        return [_error("command", "holds a NUL character")]
    if any(len(part.encode()) > steps.MAX_COMMAND_BYTES for part in command):
        return [_error("command", f"an argument has at most {steps.MAX_COMMAND_BYTES} bytes: put it into a file")]
    if sum(len(part.encode()) + 9 for part in command) > MAX_COMMAND_LINE_BYTES:
        return [_error("command", f"all arguments together have at most {MAX_COMMAND_LINE_BYTES} bytes")]
    if shutil.which(command[0], path=process.child_path()) is None:
        return [_error("command", f"{command[0]!r} is not a program that a child could start here")]
    return []


def _error(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}


# --- storing it ---------------------------------------------------------------------------------------------


def _parent(project: Project, order: SpawnOrder, actor: Actor) -> Session | None:
    """Return the parent, locked.

    So a cancel of its tree or a count of its children sees this child, or runs before it.
    """
    wanted = order.parent or actor.session
    if wanted is None:
        return None
    if actor.kind == "child" and wanted != actor.session:
        raise problems.not_found()
    parent = Session.objects.select_for_update(no_key=True).filter(pk=wanted, project=project).first()
    if parent is None:
        raise problems.not_found("There is no session with the id of `parent`.")
    deepest, most = LIMITS.spawn_depth, LIMITS.children_per_parent
    if parent.is_terminal or parent.cancel_requested_at is not None:
        raise problems.conflict("The parent is over or is being cancelled.", "not-running")
    if parent.depth >= deepest:
        raise problems.invalid([_error("parent", f"sessions are at most {deepest} levels deep")])
    if parent.children.exclude(status__in=sorted(TERMINAL)).count() >= most:
        raise problems.too_many(
            f"The parent has {most} open children, which is the limit. Try again after one has ended.", 30
        )
    tree = LIMITS.sessions_per_tree
    if Session.objects.filter(root=parent.root).count() >= tree:
        raise problems.too_many(f"The tree has {tree} sessions, which is the limit. Start a new root session.", 3600)
    return parent


def _store(project: Project, order: SpawnOrder, plan: _Plan, parent: Session | None, actor: Actor) -> Session:
    new = uuid4()
    # A child passes on its own disabled tools.
    inherited = parent.options.get("disabled_tools", []) if parent and actor.kind == "child" else []
    options = {
        "model": order.model,
        "provider": order.provider,
        "reasoning_effort": order.reasoning_effort,
        "disabled_tools": list(dict.fromkeys([*inherited, *order.disabled_tools])),
    }
    return Session.objects.create(
        pk=new,
        project=project,
        parent=parent,
        root=parent.root if parent else new,
        depth=parent.depth + 1 if parent else 0,
        role=order.role,
        title=order.title,
        assignment=order.assignment,
        runner=plan.runner,
        command=plan.command,
        options={name: value for name, value in options.items() if value},
        metadata=dict(order.metadata),
        attempt=1,
        retries_left=plan.retries,
        has_role_reach=plan.has_role_reach,
        may_run_unasked=roles.may_command(actor),
        owner_id=parent.owner_id if parent and actor.kind == "child" else actor.user_id,
        created_by=f"{actor.kind} {actor.name}"[:300],
    )
