"""Sessions and their attempts: every operation on them."""
