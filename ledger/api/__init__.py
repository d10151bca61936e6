"""The REST calls of ledger: the feed as pages and as a stream."""
