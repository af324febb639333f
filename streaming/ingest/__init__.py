"""The stage that writes the exchange's trades to the trades topic: each once, in order of id, gaps filled over REST."""
