"""Check that a caller may get a stored answer again. A replay must not show a caller more than a new call would."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from accounts.actors import Actor
from accounts.models import Credential
from orchestration.models import Session
from orchestration.sessions import access, spawn, transitions
from orchestration.sessions.spawn import SpawnOrder


def spawned(credential: Credential, session_id: UUID, order: SpawnOrder) -> None:
    """Check the replay of a spawn as a new spawn is checked. Raises 403, 404, 409, 422.

    The number of the parent's children is not checked: this child is among them. No plug-in is asked again: it could
    answer otherwise now.
    """
    actor = Actor.of_credential(credential)
    stored = Session.objects.filter(pk=session_id).values_list("runner", flat=True).first()
    spawn.check(credential.project, dataclasses.replace(order, runner=order.runner or stored), actor)
    transitions.fence(actor)
    access.readable(credential, session_id)


def acted_on(credential: Credential, session_id: UUID) -> None:
    """Check the replay of a cancel or a retry. Raises 403, 404, 409 `not-running` for a child of an ended attempt."""
    transitions.fence(Actor.of_credential(credential))
    access.steerable(credential, session_id)
