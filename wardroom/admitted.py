"""The messages that are already in the agent's history. A message received again is not read again."""

from collections.abc import Iterable, Iterator

LIMIT = 4096


class AdmittedSet:
    """The last `limit` admitted ids, oldest first.

    Only the list (`list(admitted)`) is kept across restarts. The index is rebuilt from it, so that the two cannot
    disagree.
    """

    def __init__(self, ids: Iterable[str] = (), limit: int = LIMIT) -> None:
        self.limit = limit
        self._index: dict[str, None] = {}
        for id in ids:
            self.add(id)

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
