"""The REST endpoints of the simulated exchange: what each answers and costs."""
