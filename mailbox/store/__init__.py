"""The rows of messages, and the statements that move them."""
