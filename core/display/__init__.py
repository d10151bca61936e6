"""How text, names and log lines are shown."""
