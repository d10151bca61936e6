"""The long-poll, streaming and frequent calls of orchestration, answered before Django."""

from starlette.routing import Route

from orchestration.api import event_stream, long_poll, supervisor_reports

routes: list[Route] = [*long_poll.routes, *event_stream.routes, *supervisor_reports.routes]
