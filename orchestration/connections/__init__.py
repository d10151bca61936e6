"""The WebSocket connections of children."""
