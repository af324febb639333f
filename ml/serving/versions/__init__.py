"""How versions come into MLflow with their evidence, and the connection to it: halves of the registry's door."""
