"""Ollama's API (https://docs.ollama.com/api), as far as it is about asking models; they are managed elsewhere."""
