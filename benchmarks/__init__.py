"""Measures what speed costs and saves: each row a ratio within one run, written to README.md beside this."""
