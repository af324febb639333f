"""The kernel: what the words mean (trade, candle, feature, topic, table), shared by every process."""
