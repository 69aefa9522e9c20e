"""The command line: what is typed to what is done, and what people see of it."""
