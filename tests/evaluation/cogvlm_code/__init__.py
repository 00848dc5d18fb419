"""Code as it lies beside CogVLM's weights: the same names and calls, a tiny network."""
