"""JSON Schemas of askers: bounds on the schema, the check of values, and the form of a response."""
