"""The parts that all HTTP endpoints share: problems, bodies, pages, queries and their OpenAPI description."""
