"""Readers of recorded trades: WebSocket frames, CSV, JSON, ZIP."""
