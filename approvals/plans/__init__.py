"""Plans: a manifest of steps that a person approves at once, and whose calls then pass, each in its slot."""
