"""What can be known before a run begins: whether it would start, what it would take, what stands in its way."""
