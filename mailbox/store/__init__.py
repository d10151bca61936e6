"""The message rows, and the statements that change them."""
