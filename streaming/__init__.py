"""The always-on stages over Kafka, candles from recordings, proof and correction of candles, and the simulated exchange."""
