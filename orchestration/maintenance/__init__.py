"""Remove rows and working folders that are no longer needed."""
