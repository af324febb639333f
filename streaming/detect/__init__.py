"""The stage that judges every trade with the anomaly model and reports the strange ones."""
