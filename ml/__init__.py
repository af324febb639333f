"""Datasets, models, honest evaluation, promotion, registry and scoring: imported by DAGs, stages and `python -m ml`."""
