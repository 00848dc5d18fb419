"""Metrics: each is statistics per sample, and the function that turns their sum into a score."""
