"""Children that come with Wardroom."""
