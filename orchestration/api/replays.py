"""Whether a caller may have an answer of before again: what it may no longer do or see, a replay does not give."""

from __future__ import annotations

from uuid import UUID

from accounts.actors import Actor
from accounts.models import Credential
from orchestration.sessions import access, spawn, transitions
from orchestration.sessions.spawn import SpawnOrder


def spawned(credential: Credential, session_id: UUID, order: SpawnOrder) -> None:
    """Of a spawn: who could not order it now is refused as for a new one. Raises 403, 404, 409, 422.

    How many children the parent has is not asked: this one is among them.
    """
    actor = Actor.of_credential(credential)
    spawn.judge(order, actor)
    transitions.fence(actor)
    access.readable(credential, session_id)


def steered(credential: Credential, session_id: UUID) -> None:
    """Of a cancel or a retry. Raises 403, 404, 409 `not-running` for a child whose attempt is over."""
    transitions.fence(Actor.of_credential(credential))
    access.steerable(credential, session_id)
