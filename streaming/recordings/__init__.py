"""Recorded trades in the files people have them in: CSV, JSON, ZIP."""
