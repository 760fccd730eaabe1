"""The HTTP side of the Gateway: OpenAI's API to and from `CodeRequest`s."""
