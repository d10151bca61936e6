"""Wardroom's SDK: what a child process and a program that integrates with Wardroom import."""

__version__ = "0.1.0"
