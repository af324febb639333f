"""`repair` and `replay` as commands: what they look at, and what they say."""
