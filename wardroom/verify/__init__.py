"""Check what Wardroom has signed or chained, without a server and without a database."""
