"""The HTTP side of the Gateway: a package per API around one `CodeService`, joined by `app.py`."""
