"""The kernel that every process shares: trades, candles, features, messages, Kafka, the lake, the exchange, settings."""
