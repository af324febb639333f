"""The always-on stages over Kafka, the exchange's protocol, and the simulated exchange."""
