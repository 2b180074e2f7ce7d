"""Quantization: schemes and their names, the arithmetic on arrays, how each kind of model stores it, and the audit."""
