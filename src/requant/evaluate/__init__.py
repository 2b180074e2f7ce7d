"""Evaluation data, running a model on it, and comparing the outputs with those of the float model."""
