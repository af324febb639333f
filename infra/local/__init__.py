"""The embedded stack: a real broker, supervision and the command line, with nothing installed but Python."""
