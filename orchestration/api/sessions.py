"""`sessions` and the views of one session: parse, call one operation, answer."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from msgspec import UNSET, structs
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.models import CredentialKind
from accounts.permissions import Methods, ScopeMap
from accounts.views import ProjectView
from core.web import pages, queries, request_body
from core.web.openapi import values
from core.web.openapi.values import in_query
from core.web.pages import page
from orchestration.api import bodies, replays, tree
from orchestration.models import Session
from orchestration.sessions import access, schemas, spawn
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status

FILTERS = [
    in_query("status", values.words(Status.values), "Some of these, comma-separated."),
    in_query("runner", values.text(), "Names of runners, comma-separated."),
    in_query("role", values.text()),
    in_query("parent", {"type": "string", "format": "uuid"}, "The children of this session."),
    in_query("root", {"type": "string", "format": "uuid"}, "The whole tree of this root."),
    *pages.QUERY,
]


def _order(data: Any) -> SpawnOrder:
    return bodies.order(request_body.convert(data, bodies.SpawnBody))


class Sessions(ProjectView):
    """Spawn and list sessions."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read", "POST": "sessions:write"}
    child_may: ClassVar[Methods] = ("GET", "POST")
    refuses: ClassVar = {"POST": {404: (), 409: ("not-running",)}}
    depends: ClassVar = {"POST": ("runner", "role", "command", "assignment", "parent", "metadata")}
    query: ClassVar = {"GET": tuple(parameter.name for parameter in FILTERS)}
    secret: ClassVar[Methods] = ("POST",)

    @extend_schema(operation_id="sessions_list", parameters=FILTERS, responses={200: schemas.SessionPage})
    def get(self, request: Request) -> Response:
        """List sessions, newest first.

        A child's token sees its own session's children, or with `parent` those of a session below it.
        """
        params = request.query_params
        rows = Session.objects.filter(project=self.project)
        if self.credential.kind == CredentialKind.CHILD:
            top = queries.uuid(params, "parent") or UUID(self.credential.subject)
            rows = rows.filter(parent=top) if access.sees(self.credential, top) else rows.none()
        runner = queries.text(params, "runner")
        asked = {
            "status__in": queries.words(params, "status", Status.values),
            # Any name is valid: sessions outlive the package that ran them.
            "runner__in": None if runner is None else runner.split(","),
            "role": queries.text(params, "role"),
            "parent": queries.uuid(params, "parent"),
            "root": queries.uuid(params, "root"),
        }
        rows = rows.filter(**{name: value for name, value in asked.items() if value is not None})
        key = ("created_at", "id")
        found = page(schemas.with_liveness(rows), params, schemas.session, key=key, descending=True)
        return Response(schemas.SessionPage(**found))

    @extend_schema(
        operation_id="sessions_spawn",
        request=bodies.SpawnBody,
        responses={201: schemas.SpawnedShape},
    )
    @idempotent(
        lambda view, answer: replays.spawned(view.credential, UUID(answer["id"]), _order(view.request.data)),
        redact=("child",),
    )
    def post(self, request: Request) -> Response:
        """Spawn a session. For the runner `external` the answer carries, only once, the child's token."""
        spawned = spawn.spawn(self.project, _order(request.data), self.actor)
        headers = {"Location": f"{request.path}/{spawned.session.pk}"}
        session = schemas.session(schemas.with_liveness(Session.objects.all()).get(pk=spawned.session.pk))
        address = spawned.websocket_url
        child = schemas.ChildAccess(spawned.child_token, address) if address else UNSET
        shown = schemas.SpawnedShape(**structs.asdict(session), child=child)
        return Response(shown, status=201, headers=headers)


class OneSession(ProjectView):
    """One session."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)

    @extend_schema(operation_id="sessions_get", responses={200: schemas.SessionShape})
    def get(self, request: Request, session_id: UUID) -> Response:
        """Return one session as it is now."""
        session = access.readable(self.credential, session_id)
        return Response(schemas.session(schemas.with_liveness(Session.objects.all()).get(pk=session.pk)))


class Tree(ProjectView):
    """A session and everything below it."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)

    @extend_schema(
        operation_id="sessions_tree",
        responses={200: schemas.SessionTreeShape},
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        """Return the session with its `children`, each in the same form, oldest first.

        It ends at 1,000 sessions or 1 MiB, the nearest first. A session that is `truncated` has children that are not
        here: list them with `GET sessions?parent=`, or ask for its own tree.
        """
        return Response(tree.build(access.readable(self.credential, session_id).pk))


class Attempts(ProjectView):
    """The attempts of one session."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)
    query: ClassVar = {"GET": pages.PARAMETERS}

    @extend_schema(operation_id="sessions_attempts", parameters=pages.QUERY, responses={200: schemas.Attempts})
    def get(self, request: Request, session_id: UUID) -> Response:
        """List its attempts, oldest first, with the outcome of each one's process."""
        session = access.readable(self.credential, session_id)
        found = page(session.attempts.all(), request.query_params, schemas.attempt, key=("number",))
        return Response(schemas.Attempts(**found))
