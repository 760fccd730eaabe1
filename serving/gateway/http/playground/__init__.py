"""The playground: a page at `/` that asks the other APIs, and the one route that it needs beside them.

`files/` is built from `playground/` at the root of the repository: `make playground`.
"""
