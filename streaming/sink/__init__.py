"""The stage that keeps the topics in the lake."""
