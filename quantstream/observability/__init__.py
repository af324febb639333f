"""Metrics, health, logs and balance sheet of a process."""
