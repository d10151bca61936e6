"""Grants: one answer of a person that also answers later requests for the same action, within bounds."""
