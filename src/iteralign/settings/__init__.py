"""Every setting, once: typed, described under its field, loaded from files and the command line."""
