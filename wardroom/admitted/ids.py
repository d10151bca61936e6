"""A bounded set of admitted ids."""

import json
from collections.abc import Iterable, Iterator
from typing import Self

LIMIT = 4096


class NotAdmittedIds(ValueError):
    """The text is not what `AdmittedSet.to_json` wrote."""


class AdmittedSet:
    """The last `limit` admitted ids, oldest first.

    It is a cache: a set that has forgotten an id proves nothing. The proof is the id in the agent's history.

    Only the list (`list(admitted)`, or `to_json`) is kept across restarts. The index is rebuilt from it, so that the
    two cannot disagree.
    """

    def __init__(self, ids: Iterable[str] = (), limit: int = LIMIT) -> None:
        self.limit = limit
        self._index: dict[str, None] = {}
        for id in ids:
            self.add(id)

    @classmethod
    def from_json(cls, text: str | bytes, limit: int = LIMIT) -> Self:
        """Return the set that `to_json` wrote. Raises NotAdmittedIds for any other text: it is never an empty set."""
        try:
            ids = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NotAdmittedIds(f"the admitted ids are no JSON: {error}") from None
        if not isinstance(ids, list) or not all(isinstance(id, str) and id for id in ids):
            raise NotAdmittedIds("the admitted ids are not a list of non-empty texts")
        return cls(ids, limit)

    def to_json(self) -> str:
        """Return the ids as a JSON list, oldest first."""
        return json.dumps(list(self._index))

    def add(self, id: str) -> bool:
        """Add `id`. Return False when it was known. A known id keeps its place."""
        if id in self._index:
            return False
        self._index[id] = None
        if len(self._index) > self.limit:
            del self._index[next(iter(self._index))]
        return True

    def __contains__(self, id: object) -> bool:
        return id in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)
