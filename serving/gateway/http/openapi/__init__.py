"""The description of the HTTP APIs in OpenAPI 3.1, made from what routes read and answer, and its page."""
