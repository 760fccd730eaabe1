"""The command `codegemma`: start a server, and ask one from a terminal.

The client commands speak the OpenAI API through the official client. Neither jax nor Ray is imported for them,
and the OpenAI client only when a command needs it, so that `codegemma --help` answers at once.
"""
