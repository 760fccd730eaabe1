"""The API of Tabby's server, as its editor plug-ins speak it."""
