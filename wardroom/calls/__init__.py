"""The calls of REST that are one request each, by topic, for `Client` and `AsyncClient`."""
