"""The lake: Delta tables of Parquet, their schemas, and stored trades read back."""
