"""The front gate: every HTTP request and WebSocket handshake passes here before an app sees it.

connection   uvicorn's HTTP connection, with deadlines and limits on sockets
gate         authenticate the caller before the body is read, and bound the body in bytes and time
exchange     one request and its answer on their way through the gate
"""
