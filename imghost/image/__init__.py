"""Image files: bytes to facts, and the copy that is sent. Decodes no pixel unless it resizes."""
