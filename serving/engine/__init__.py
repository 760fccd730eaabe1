"""Continuous batching, tokens in and tokens out.

Pure Python: nothing here imports jax or Ray, so every rule of the scheduler is tested without either.
The engine plans a step, a `Runner` executes it, and the engine gives each sampled token to its request.
"""
