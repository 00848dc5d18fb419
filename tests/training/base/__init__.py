"""Tests of the embedded base model's recipe."""
