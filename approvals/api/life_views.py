"""The REST calls on a pending request. Each calls one operation of `approvals.life`, and none answers the request."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.views import ProjectView
from approvals import permissions, schemas
from approvals.api import asgi_routes, replays
from approvals.api.views import still
from approvals.life import ask_back, bodies, claims, deadlines, reminders, routing
from approvals.life import schemas as life_schemas
from approvals.models import Approval
from approvals.selectors import find
from approvals.states import Via
from core.web import request_body

ENDED: Any = {403: ("not-an-approver",), 409: ("already-decided",), 410: ("expired",)}


class ForApprovers(ProjectView):
    """A call of a person who may answer. The operation checks that again, in its transaction."""

    # A caller that may not see the request must get 404, not 403.
    permission_classes = []
    refuses: ClassVar = {"POST": ENDED}

    def read(self, approval_id: UUID, body: type[msgspec.Struct]) -> dict[str, Any]:
        """Return the members of the body, after the checks of the caller."""
        asgi_routes.may_look(self.credential)
        find(self.project.pk, approval_id, self.actor, waiters=False)
        permissions.check_decide(self.actor, self.project.pk, Via.REST)
        return msgspec.structs.asdict(request_body.convert(self.request.data, body))

    def answer(self, approval: Approval) -> Response:
        """Return the request as it is now."""
        return Response(schemas.approval(approval, self.actor))


class Claim(ForApprovers):
    refuses: ClassVar = {"POST": ENDED | {409: ("already-decided", "claimed")}}

    @extend_schema(operation_id="approvals_claim", request=bodies.ApprovalClaim, responses={200: schemas.Approval})
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Tell others that you look at it, for a while. It stops nobody from answering. Again: renew it."""
        words = self.read(approval_id, bodies.ApprovalClaim)
        return self.answer(claims.claim(self.project.pk, approval_id, self.actor, **words))


class Release(ForApprovers):
    refuses: ClassVar = {"POST": ENDED | {409: ("already-decided", "claimed")}}

    @extend_schema(operation_id="approvals_release", request=bodies.ApprovalRelease, responses={200: schemas.Approval})
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Give up your claim. Without a claim nothing changes."""
        self.read(approval_id, bodies.ApprovalRelease)
        return self.answer(claims.release(self.project.pk, approval_id, self.actor))


class Delegate(ForApprovers):
    @extend_schema(
        operation_id="approvals_delegate", request=bodies.ApprovalDelegation, responses={200: schemas.Approval}
    )
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Hand it to a person or a group that may answer here. It stays pending, and others may still answer it."""
        words = self.read(approval_id, bodies.ApprovalDelegation)
        return self.answer(routing.delegate(self.project.pk, approval_id, self.actor, **words))


class Snooze(ForApprovers):
    @extend_schema(operation_id="approvals_snooze", request=bodies.ApprovalSnooze, responses={200: schemas.Approval})
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Put it out of your own queue for some seconds. It stays pending, and nobody else is affected."""
        words = self.read(approval_id, bodies.ApprovalSnooze)
        snoozed = routing.snooze(self.project.pk, approval_id, self.actor, **words)
        return Response(life_schemas.snoozed(snoozed, self.actor))


class Extend(ForApprovers):
    depends: ClassVar = {"POST": ("expires_in_secs",)}
    refuses: ClassVar = {"POST": ENDED | {409: ("already-decided", "conflict")}}

    @extend_schema(operation_id="approvals_extend", request=bodies.ApprovalExtension, responses={200: schemas.Approval})
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Move its deadline to a later time. A request without a deadline has none to move: 409."""
        words = self.read(approval_id, bodies.ApprovalExtension)
        return self.answer(deadlines.extend(self.project.pk, approval_id, self.actor, **words))


class Escalate(ForApprovers):
    @extend_schema(
        operation_id="approvals_escalate", request=bodies.ApprovalEscalation, responses={200: schemas.Approval}
    )
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Mark it as urgent, and hand it to a person or a group if you name one. It ends every snooze of it."""
        words = self.read(approval_id, bodies.ApprovalEscalation)
        return self.answer(routing.escalate(self.project.pk, approval_id, self.actor, **words))


class Remind(ProjectView):
    # For the asker, and for people who may answer: the operation checks it.
    permission_classes = []
    refuses: ClassVar = {"POST": ENDED | {429: ("too-many",)}}

    @extend_schema(operation_id="approvals_remind", request=bodies.ApprovalReminder, responses={200: schemas.Approval})
    @idempotent(still(replays.asked))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Remind the people who may answer, once a minute. For the asker too."""
        asgi_routes.may_look(self.credential)
        find(self.project.pk, approval_id, self.actor, waiters=False)
        note = request_body.convert(request.data, bodies.ApprovalReminder).note
        approval = reminders.remind(self.project.pk, approval_id, self.actor, note)
        return Response(schemas.approval(approval, self.actor))


class AskBack(ForApprovers):
    refuses: ClassVar = {"POST": ENDED | {429: ("too-many",)}}

    @extend_schema(operation_id="approvals_ask_back", request=bodies.ApprovalAskBack, responses={200: schemas.Approval})
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Ask the asker a question. The request stays pending, and the answer is shown with it."""
        words = self.read(approval_id, bodies.ApprovalAskBack)
        return self.answer(ask_back.ask(self.project.pk, approval_id, self.actor, **words))


class Questions(ProjectView):
    # As for the request itself: the asker may read them, and other callers with approvals:read.
    permission_classes = []

    @extend_schema(operation_id="approvals_questions", responses={200: life_schemas.ApprovalQuestions})
    def get(self, request: Request, approval_id: UUID) -> Response:
        """List the questions to the asker, and its answers."""
        asgi_routes.may_look(self.credential)
        return Response(
            life_schemas.questions(find(self.project.pk, approval_id, self.actor, waiters=False), self.actor)
        )


class Answer(ProjectView):
    scopes: ClassVar = {"POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    refuses: ClassVar = {"POST": {404: (), 409: ("already-decided", "already-answered"), 410: ("expired",)}}

    @extend_schema(
        operation_id="approvals_answer", request=bodies.ApprovalQuestionAnswer, responses={200: schemas.Approval}
    )
    @idempotent(lambda view, answer, approval_id, question_id: still(replays.fallen_back)(view, answer, approval_id))
    def post(self, request: Request, approval_id: UUID, question_id: UUID) -> Response:
        """Answer a question about one's own request. It answers no approval. Again: the same answer, or 409."""
        find(self.project.pk, approval_id, self.actor, waiters=False)
        said = request_body.convert(request.data, bodies.ApprovalQuestionAnswer).answer
        approval = ask_back.answer(self.project.pk, question_id, said, self.actor, approval_id=approval_id)
        return Response(schemas.approval(approval, self.actor))


class History(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}

    @extend_schema(operation_id="approvals_history", responses={200: life_schemas.ApprovalHistory})
    def get(self, request: Request, approval_id: UUID) -> Response:
        """List what happened to it before its answer: claims, delegations, extensions and so on. For the staff."""
        return Response(life_schemas.history(find(self.project.pk, approval_id, self.actor, waiters=False)))
