"""The ways to launch an attempt: the registry of runners, and the runner `process`."""
