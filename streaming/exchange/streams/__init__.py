"""The WebSocket streams of the simulated exchange: their names, requests, states and events."""
