"""The network: one bounded HTTP client."""
