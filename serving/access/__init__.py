"""What an operator says of access: the settings, and the file of API keys."""
