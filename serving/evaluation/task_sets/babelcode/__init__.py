"""BabelCode: questions in one language, put into eight."""
