"""The admin pages of the ledger, and the stream that keeps admin pages fresh."""
