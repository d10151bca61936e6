"""The staff login: its duration, its lockouts and its cookie."""
