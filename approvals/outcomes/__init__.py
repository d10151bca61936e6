"""The outcome of a consumed action: the executor's report, the lack of one, and a person's settlement."""
