"""Captions for drawings: corpus records, the one prompt, base models, adapters and the engine."""
