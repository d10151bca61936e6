"""What every HTTP edge shares: problems, bodies, pages, queries and their OpenAPI description."""
