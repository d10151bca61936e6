"""The host of runner plug-ins (`manage.py runners`): one process, one event loop, many jobs.

The host claims queued attempts in the database. Then each job speaks to Wardroom as a child does: over a WebSocket,
with its attempt's token. So acknowledgement, fence, replay, approvals, cancel and the lease of the connection are those
of every child, and a host that is killed loses its attempts after the grace of a lost connection.
"""
