"""The bytes of request bodies that this process holds at once."""

from __future__ import annotations

from collections import Counter

from core.limits import LIMITS
from core.web import problems
from server.front import pressure


class Budget:
    """A bound on bytes in memory, shared by all requests. One owner may hold one share of it.

    The owner is a credential or a person. For an unauthenticated caller the owner is the address.
    """

    def __init__(self, setting: str, shares: int) -> None:
        self._setting = setting
        self._shares = shares
        self._held = 0
        self._by_owner: Counter[str] = Counter()

    @property
    def is_tight(self) -> bool:
        """True when more than half of the budget is in use."""
        most: int = getattr(LIMITS, self._setting)
        return 2 * self._held > most

    def take(self, owner: str, size: int) -> None:
        """Raise 503 when all owners together would hold too much, and 429 when this owner would."""
        most: int = getattr(LIMITS, self._setting)
        if self._held + size > most:
            pressure.note(self._setting)
            raise problems.busy("The memory for request bodies is full.")
        if self._by_owner[owner] + size > most // self._shares:
            raise problems.too_many("Your calls send too many bytes at once.", retry_after=1)
        self._held += size
        self._by_owner[owner] += size

    def give_back(self, owner: str, size: int) -> None:
        """Release bytes that are no longer in memory."""
        self._held -= size
        self._by_owner[owner] -= size
        if not self._by_owner[owner]:
            del self._by_owner[owner]


proven = Budget("body_bytes_at_once", shares=4)
# Unauthenticated callers are told apart by their addresses, and many share one address behind a router.
unproven = Budget("unproven_bytes_at_once", shares=2)
