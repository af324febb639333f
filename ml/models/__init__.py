"""The four models: forecast, signal, risk, anomaly; each saves itself to a folder without pickle."""
