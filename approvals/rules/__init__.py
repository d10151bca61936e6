"""Rules: they deny, allow, or demand certain people and times, before a person sees a request."""
