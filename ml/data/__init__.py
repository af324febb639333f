"""What models learn from: candles, labels, features of trades, history, and the gate for its quality."""
