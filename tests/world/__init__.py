"""Real generators' sites, opened plain and hosted in a real browser: `make world`."""
