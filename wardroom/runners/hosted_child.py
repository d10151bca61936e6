"""A child that shares its process with others: its host ends the body, and may end the attempt in its place."""

from wardroom.child import Child


class HostedChild(Child):
    """The connection of one job in a host of many."""

    _stops_body = False

    @property
    def is_waiting_for_run(self) -> bool:
        """True until the work has arrived."""
        return self._wire.run is None

    def leave(self) -> None:
        """Send no end: somebody else ends the attempt, or goes on with it."""
        self._finished = True
