"""What the stages tell each other: topics, the values in them, and who reads and writes what."""
