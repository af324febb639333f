"""The lake: Delta tables of Parquet, what they hold, and trades back out of them."""
