"""The command `codegemma`: start a server, and ask one from a terminal.

A command's module is imported when the command is run. Those that ask a server speak OpenAI's API and import what
they need for that and nothing else: neither JAX, Ray nor gRPC, so that `codegemma complete` answers at once.
"""
