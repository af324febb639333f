"""The embedded stack: a real broker and every process under supervision, with nothing installed but Python."""
