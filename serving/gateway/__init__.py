"""Both protocols enter here: bytes become one internal request, and text chunks become bytes again."""
