"""The statements that write events and audit rows, and the modules that run them."""
