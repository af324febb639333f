"""What a process says of itself: metrics, health, logs, and whether its accounts close."""
