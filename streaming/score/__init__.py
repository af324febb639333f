"""The stage that scores every closed candle."""
