"""Tests of the embedded CLIP's recipe."""
