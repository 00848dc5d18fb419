"""How good captions are: captioners, metrics, statistics, reports. Run as `python -m evaluation`."""
