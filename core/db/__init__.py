"""The database: its clock, statements by hand, batches, the write lock of SQLite, outages."""
