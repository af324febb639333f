"""Honest judgement of models: on later data, beside baselines, with intervals."""
