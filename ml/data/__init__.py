"""Training data: candles as arrays, labels, features of trades, and who was listed."""
