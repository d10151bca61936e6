"""The messages that are already in the agent's history. A message received again is not read again."""

from wardroom.admitted.ids import LIMIT, AdmittedSet, NotAdmittedIds

__all__ = ["LIMIT", "AdmittedSet", "NotAdmittedIds"]
