"""What candles, trades, scores and features must be: pure rules, a truth for each row."""
