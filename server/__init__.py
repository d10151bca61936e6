"""`manage.py up` and what every process of Wardroom does: front, health, liveness."""
