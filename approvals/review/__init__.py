"""Review by a model or a program, before people: the request that it gets, its verdict, and the answer of this."""
