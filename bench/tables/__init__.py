"""What the lake costs: reads of a year, bytes a trade, commits to a table of many files."""
