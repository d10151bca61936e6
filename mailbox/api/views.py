"""The REST calls of mailboxes. Each parses its body, calls one operation and answers. A child's token may use none of
them.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import ScopeMap
from accounts.scopes import DRAIN
from accounts.views import ProjectView
from core.web import pages, queries, request_body
from core.web.pages import page
from mailbox import addresses, claims, delivery, schemas
from mailbox.api import bodies, parameters
from mailbox.models import Message
from mailbox.states import MessageState
from mailbox.store import receipts


class Mailbox(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": "mailboxes:read"}
    in_path: ClassVar = parameters.IN_PATH

    @extend_schema(operation_id="mailbox_counts", responses={200: schemas.MailboxCounts})
    def get(self, request: Request, address: str) -> Response:
        """Count the new, claimed, admitted and quarantined messages. An unused mailbox is empty."""
        return Response(schemas.MailboxCounts(**delivery.counts(self.project.pk, address)))


class Messages(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": "mailboxes:read"}
    in_path: ClassVar = parameters.IN_PATH
    before_django: ClassVar = ("POST",)
    query: ClassVar = {"GET": ("state", *pages.PARAMETERS)}

    @extend_schema(
        operation_id="mailbox_messages",
        parameters=[*parameters.MESSAGE_FILTERS, *pages.QUERY],
        responses={200: schemas.MessagePage},
    )
    def get(self, request: Request, address: str) -> Response:
        """List the messages at an address, in their order, without secrets. Reading changes nothing."""
        address = addresses.check(address)
        rows = Message.objects.filter(project=self.project, address__name=address)
        state = queries.word(request.query_params, "state", MessageState.values)
        if state is not None:
            rows = rows.in_state(state)
        shown = partial(schemas.shown_message, address=address)
        found = page(rows.placed(), request.query_params, shown, key=("seq",), prepare=receipts.attach)
        return Response(schemas.MessagePage(**found))


class ConsumerView(ProjectView):
    """The common part of the calls with which a consumer claims messages and settles them."""

    scopes: ClassVar[ScopeMap] = {"POST": "mailboxes:write"}
    in_path: ClassVar = parameters.IN_PATH
    refuses: ClassVar = {"POST": {403: ("reserved-address",)}}
    owner_needs: ClassVar[ScopeMap] = {"POST": DRAIN}


class Drain(ConsumerView):
    @extend_schema(
        operation_id="mailbox_drain",
        request=bodies.MailboxDrain,
        responses={200: schemas.MailboxClaim},
    )
    def post(self, request: Request, address: str) -> Response:
        """Claim messages in order, under a lease; acknowledge them before it ends."""
        body = request_body.convert(request.data, bodies.MailboxDrain)
        claim = claims.drain(self.project.pk, address, body.limit, body.lease_secs, body.consumer)
        return Response(schemas.claim(claim, address))


class Recover(ConsumerView):
    @extend_schema(
        operation_id="mailbox_recover",
        request=bodies.MailboxRecover,
        responses={200: schemas.MailboxClaim},
    )
    def post(self, request: Request, address: str) -> Response:
        """Claim expired messages again, and all messages of this consumer. Its old claim is dead from here on."""
        body = request_body.convert(request.data, bodies.MailboxRecover)
        claim = claims.recover(self.project.pk, address, body.lease_secs, body.consumer)
        return Response(schemas.claim(claim, address))


class Ack(ConsumerView):
    @extend_schema(
        operation_id="mailbox_ack",
        request=bodies.MailboxAck,
        responses={200: schemas.MailboxAcked},
    )
    def post(self, request: Request, address: str) -> Response:
        """Mark these messages as done. A repeat has the same result. A dead claim changes nothing and gets its ids as
        unknown.
        """
        body = request_body.convert(request.data, bodies.MailboxAck)
        settled = claims.ack(self.project.pk, address, body.claim, body.ids)
        return Response(schemas.MailboxAcked(settled.done, settled.unknown))


class Nack(ConsumerView):
    @extend_schema(
        operation_id="mailbox_nack",
        request=bodies.MailboxNack,
        responses={200: schemas.MailboxNacked},
    )
    def post(self, request: Request, address: str) -> Response:
        """Return these messages, to be claimed again after the delay. After the last try they go into quarantine."""
        body = request_body.convert(request.data, bodies.MailboxNack)
        settled = claims.nack(self.project.pk, address, body.claim, body.ids, body.delay_secs)
        return Response(schemas.MailboxNacked(settled.done, settled.unknown))


class Extend(ConsumerView):
    @extend_schema(
        operation_id="mailbox_extend",
        request=bodies.MailboxExtend,
        responses={200: schemas.MailboxExtended},
    )
    def post(self, request: Request, address: str) -> Response:
        """Extend the lease of the messages that this claim still holds to `lease_secs` from now."""
        body = request_body.convert(request.data, bodies.MailboxExtend)
        held = claims.extend(self.project.pk, address, body.claim, body.lease_secs)
        return Response(schemas.extended(held))
