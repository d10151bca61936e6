"""The thread pool for database calls, and the batching of concurrent calls."""
