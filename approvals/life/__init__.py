"""The life of a request beside its answer: the steps while it is pending, and the facts that it depends on."""
