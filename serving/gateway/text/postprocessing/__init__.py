"""What is done to an answer between code after the model, while it grows."""
