"""The REST calls on rules. Reading needs `rules:write` or `approvals:read`, everything else `rules:write`."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import allow
from accounts.views import ProjectView
from approvals.models import Rule
from approvals.rules import editing, previews, schemas
from approvals.rules.bodies import RuleBody, RulePreview
from core.web import pages, problems, request_body
from core.web.pages import page

WRITE, READ = "rules:write", "approvals:read"
#: Names in these fields must exist, and times must lie before the deadline.
DEPENDS = ("name", "match", "approvers", "escalate", "remind_after_secs", "on_expiry")
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')


class RuleView(ProjectView):
    """A call on rules. One of two scopes is enough to read them; the map of scopes cannot express that."""

    permission_classes = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the scope before the body."""
        super().initial(request, *args, **kwargs)
        reads = request.method in ("GET", "HEAD") and READ in self.credential.scopes
        if request.method != "OPTIONS":
            allow(self.credential, READ if reads else WRITE)

    def shown(self, rule: Rule, status: int = 200, **headers: str) -> Response:
        """Return a rule. Its version is the entity tag."""
        return Response(schemas.rule(rule), status=status, headers={"ETag": f'"{rule.version}"', **headers})


class Rules(RuleView):
    depends: ClassVar = {"POST": DEPENDS}
    refuses: ClassVar = {"POST": {409: ("conflict",), 429: ("too-many",)}}
    query: ClassVar = {"GET": pages.PARAMETERS}

    @extend_schema(operation_id="rules_list", parameters=pages.QUERY, responses={200: schemas.RulePage})
    def get(self, request: Request) -> Response:
        """List the rules of the project, by name."""
        found = page(editing.rules_of(self.project.pk), request.query_params, schemas.rule, key=("name", "id"))
        return Response(schemas.RulePage(**found))

    @extend_schema(operation_id="rules_create", request=RuleBody, responses={201: schemas.RuleShown})
    @idempotent(still=lambda view, answer: None)
    def post(self, request: Request) -> Response:
        """Add a rule. It counts for the next request."""
        body = request_body.convert(request.data, RuleBody)
        rule = editing.create(self.project.pk, body, self.actor)
        return self.shown(rule, 201, Location=f"{request.path}/{rule.id}")


class OneRule(RuleView):
    depends: ClassVar = {"PUT": (*DEPENDS, "version")}
    refuses: ClassVar = {"PUT": {409: ("conflict", "version-conflict")}}

    @extend_schema(operation_id="rules_get", responses={200: schemas.RuleShown})
    def get(self, request: Request, rule_id: UUID) -> Response:
        """Show one rule."""
        return self.shown(editing.find(self.project.pk, rule_id))

    @extend_schema(operation_id="rules_put", request=RuleBody, responses={200: schemas.RuleShown})
    def put(self, request: Request, rule_id: UUID) -> Response:
        """Replace a rule. With `version`, or `If-Match`, only if it still has that version: else 409."""
        editing.find(self.project.pk, rule_id)
        body = request_body.convert(request.data, RuleBody)
        tag = request.headers.get("If-Match", "*").strip()
        if (found := _ETAG.fullmatch(tag)) is None and tag != "*":
            raise problems.conflict("If-Match names no version of a rule.", "version-conflict")
        version = int(found[1]) if found else None
        return self.shown(editing.change(self.project.pk, rule_id, body, self.actor, version=version))

    @extend_schema(operation_id="rules_delete", responses={204: None})
    def delete(self, request: Request, rule_id: UUID) -> Response:
        """Delete a rule. Requests that were asked under it keep its demands."""
        editing.delete(self.project.pk, rule_id, self.actor)
        return Response(status=204)


class Preview(RuleView):
    depends: ClassVar = {"POST": ("rule",)}

    @extend_schema(operation_id="rules_preview", request=RulePreview, responses={200: schemas.RulePreviewed})
    def post(self, request: Request) -> Response:
        """Judge the requests of the last days by a rule, which need not be stored. It changes nothing."""
        body = request_body.convert(request.data, RulePreview)
        editing.check(self.project.pk, body.rule)
        rule = previews.unsaved(self.project.pk, body.rule)
        return Response(previews.preview(self.project.pk, rule, body.days, self.actor))
