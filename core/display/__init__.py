"""Display of text, names and log lines."""
