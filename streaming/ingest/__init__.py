"""The stage that takes trades from the exchange to the log: each once, in order of id."""
