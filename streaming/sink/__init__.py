"""The stage that stores the topics in the lake, exactly once."""
