"""Figures, as ratios against a peer or a limit measured in the same run: `make bench`, or `python -m benchmarks NAME`.

Each module here measures one thing. It prints a table, and `--write` keeps the tables in docs/benchmarks.md.
"""
