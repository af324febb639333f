"""Questions to the lake whose answers are files or text: SQL, and ranges of a table."""
