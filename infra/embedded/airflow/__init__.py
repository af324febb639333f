"""Airflow in the embedded stack: its environment, its executor, and a client of its API."""
