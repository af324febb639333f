"""Other stream engines on the same topic, as documented; `bench.engines` runs them in their own environment."""
