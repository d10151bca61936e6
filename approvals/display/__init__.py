"""The copies of requests that people see, without secrets, and the looks at what they hide."""
