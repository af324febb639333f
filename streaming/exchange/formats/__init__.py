"""The JSON that the simulated exchange prints."""
