"""Whether a run is what was computed, and where each part of it came from."""
