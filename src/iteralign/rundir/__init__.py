"""The run directory: what is kept, under which names, and how it is checked and read back."""
