"""Tests: each folder mirrors a package; `smoke` runs real commands, `browser` the page in Chromium."""
