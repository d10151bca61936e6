"""The login of staff: how long it lasts, who is locked out, whose cookie it is."""
