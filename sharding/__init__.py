"""A Gemma that spans devices: model, partitioning, KV cache, checkpoints, step runner.

JAX lives here and only here; nothing here knows of Ray, HTTP or requests.

Axis names, used in shape comments and einsum strings:
`B` batch rows, `T` tokens in a step, `S` sequence, `N` query heads, `K` KV heads, `D` head size,
`E` embedding, `F` MLP width, `V` vocabulary, `P` pages.
"""
