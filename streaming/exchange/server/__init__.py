"""The simulated exchange as one server: REST, WebSocket and the control endpoint on one port."""
