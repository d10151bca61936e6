"""What our figures stand beside: other ways to do the same work, written here so that both run in one run."""
