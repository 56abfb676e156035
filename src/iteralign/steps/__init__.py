"""The verbs of the algorithm: records in, records out, plain arguments, no files and no settings object."""
