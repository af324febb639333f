"""The markets behind the simulated exchange, synthetic or recorded, and what follows from their trades."""
