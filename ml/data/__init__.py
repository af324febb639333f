"""Training data: candles as arrays, labels, features of trades, who was listed, and the quality gate."""
