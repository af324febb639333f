"""The page: market, signals, risk and health as they happen. It reads topics, lake, registry and metrics; it writes nothing."""
