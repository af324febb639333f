"""The lake's table `features`: features and labels of every candle, built once for all models, by symbol and month."""
