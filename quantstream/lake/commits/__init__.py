"""How rows become the next version of a table: what a writer knows of its log, and commits made ready beside it."""
