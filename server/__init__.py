"""`manage.py up`, and the parts that every process of Wardroom uses: front gate, health, liveness."""
