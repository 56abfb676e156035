"""The owner of a Hugging Face model's weights, and the files that they come from."""
