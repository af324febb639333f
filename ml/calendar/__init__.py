"""The calendar of scheduled releases: renewed from a file, kept in the lake, taken up by every process that computes features."""
