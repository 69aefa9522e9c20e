"""The records of what was earned: the committed lock and the local cache."""
