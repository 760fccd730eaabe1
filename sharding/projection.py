"""`project`: the one door to every matrix product with weights, whatever they are stored as.

On CPUs the weights are the left operand and the small result is transposed: XLA then streams `[out, in]` weights up to
2.5 times faster for 2 to 16 tokens. A barrier keeps it from turning that around.

Adapters are two narrow products beside the wide one: with the A of all adapters, of which each token keeps what its own
gives, and with the B of all. So a step reads each of them once, however its tokens are mixed, no shape depends on who
has which, and what the others have adds zeros to a token's sums; so does having none.

Products of int8 are summed in int32, which is exact, and scaled afterwards. So the order of the sums, and with it the
number of devices, changes nothing; a token's scale is that of all its inputs, on whatever device they are.
"""

from functools import partial
from math import gcd, prod

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from sharding.quantization import Quantization
from sharding.weights import AdaptedWeight, QuantisedWeight, Weight, dequantise

_BLOCK_ROWS = 4096
"""Fewer outputs than twice that are multiplied at once."""
_BLOCK_GROUP_ROWS = 64
"""Outputs of a device of which the weights in groups are decoded at once on CPUs; a power of two."""
_MOST_DEVICES = 8
"""Virtual devices on a CPU, over which outputs may be split."""


def project(weight: Weight | AdaptedWeight, x: jax.Array, *, dtype: DTypeLike | None = None) -> jax.Array:
    """Applies a projection: weight [*out, *in], x [T, *in] -> [T, *out] in `dtype`, by default that of x."""
    dtype = x.dtype if dtype is None else dtype
    if isinstance(weight, AdaptedWeight):
        return project(weight.weight, x, dtype=dtype) + _adaptation(weight, x, dtype)
    if not isinstance(weight, QuantisedWeight):
        product = _product(weight, x, dtype)
    elif weight.quantization is Quantization.INT8:
        product = _int8(weight, x).astype(dtype)
    elif weight.quantization is Quantization.INT8_WEIGHTS:
        converting = partial(_int8_weights, dtype=dtype)
        product = lax.platform_dependent(weight, x, cpu=_int8_in_two_parts, default=converting).astype(dtype)
    else:
        decoding, in_blocks = partial(_groups, dtype=dtype), partial(_groups_in_blocks, dtype=dtype)
        product = lax.platform_dependent(weight, x, cpu=in_blocks, default=decoding)
    return jnp.moveaxis(product, -1, 0)


def _adaptation(weight: AdaptedWeight, x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """What each token's adapter adds: [T, *out]."""
    of_all = _product(weight.a, x, x.dtype)  # [S, R, T]
    own = jnp.where(weight.chosen[:, None], of_all, 0)
    return jnp.moveaxis(_product(weight.b, jnp.moveaxis(own, -1, 0), dtype), -1, 0)


def _product(weight: jax.Array, x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """[*out, *in], [T, *in] -> [*out, T]."""
    inputs = x.ndim - 1
    contracted = (tuple(range(weight.ndim - inputs, weight.ndim)), tuple(range(1, x.ndim)))
    product = lax.dot_general(
        weight,
        x,
        (contracted, ((), ())),
        precision=lax.Precision.HIGHEST,  # float32 stays float32 on GPU and TPU; no effect on bfloat16 and integers
        preferred_element_type=dtype,
    )
    barrier: jax.Array = lax.platform_dependent(product, cpu=lax.optimization_barrier, default=lambda product: product)
    return barrier


def _int8(weight: QuantisedWeight[jax.Array], x: jax.Array) -> jax.Array:
    """Weights and activations of 8 bits: float32 [*out, T]."""
    values, scales = _quantise_tokens(x, 127)
    product = _integer_product(weight.values, values.astype(jnp.int8))
    return product.astype(jnp.float32) * weight.scales[..., None] * scales


def _int8_weights(weight: QuantisedWeight[jax.Array], x: jax.Array, *, dtype: DTypeLike) -> jax.Array:
    """Weights of 8 bits, converted where the product reads them; activations as they are: float32 [*out, T].

    The product comes in `dtype`, in which devices then add up their parts as they do with plain weights.
    """
    return _product(weight.values.astype(x.dtype), x, dtype) * weight.scales[..., None]


def _int8_in_two_parts(weight: QuantisedWeight[jax.Array], x: jax.Array) -> jax.Array:
    """Weights of 8 bits, activations of 16 bits as two integers of 8 bits each: float32 [*out, T].

    CPUs multiply integers fast, and converted weights 30 to 100 times slower. One token takes no longer than with 8
    bits, as two rows are the least that XLA multiplies fast.
    """
    values, scales = _quantise_tokens(x, 127 * 256 + 127)
    high = jnp.floor(values / 256 + 0.5)
    parts = jnp.concatenate([high, values - high * 256]).astype(jnp.int8)
    product = _integer_product(weight.values, parts).astype(jnp.float32)
    high_product, low_product = jnp.split(product, 2, axis=-1)
    return (high_product * 256 + low_product) * weight.scales[..., None] * scales


def _groups(weight: QuantisedWeight[jax.Array], x: jax.Array, *, dtype: DTypeLike) -> jax.Array:
    """Weights in groups, decoded where the product reads them: [*out, T] in `dtype`."""
    return _product(dequantise(weight.values, weight.scales, x.dtype), x, dtype)


def _groups_in_blocks(weight: QuantisedWeight[jax.Array], x: jax.Array, *, dtype: DTypeLike) -> jax.Array:
    """The same in blocks of outputs, in float32 until the end.

    On CPUs, decoded weights are written before they are multiplied. Those of a block stay in a core's cache: 16384 x
    2048 weights of 8 bits then take 4 ms, and all at once 65 to 140. A block has rows of every device.
    """
    inputs = x.ndim - 1
    outputs = weight.shape[:-inputs]
    x = x.reshape(len(x), -1).astype(jnp.float32)
    values, scales = (part.reshape(prod(outputs), -1) for part in (weight.values, weight.scales))
    rows = gcd(prod(outputs) // _MOST_DEVICES, _BLOCK_GROUP_ROWS)
    if prod(outputs) % _MOST_DEVICES or prod(outputs) <= _MOST_DEVICES * rows:
        product = _product(lax.optimization_barrier(dequantise(values, scales, x.dtype)), x, jnp.float32)
        return product.reshape(*outputs, -1).astype(dtype)
    values, scales = (part.reshape(_MOST_DEVICES, -1, rows, part.shape[1]) for part in (values, scales))

    def multiply(block: jax.Array) -> jax.Array:
        part, its_scales = (
            lax.dynamic_index_in_dim(array, block, axis=1, keepdims=False) for array in (values, scales)
        )
        return _product(lax.optimization_barrier(dequantise(part, its_scales, x.dtype)), x, jnp.float32)

    product = lax.map(multiply, jnp.arange(values.shape[1]))
    return jnp.moveaxis(product, 0, 1).reshape(*outputs, -1).astype(dtype)


def _quantise_tokens(x: jax.Array, maximum: int) -> tuple[jax.Array, jax.Array]:
    """Returns whole numbers up to `maximum`, float32 [T, *in], and their scales [T]."""
    x = x.astype(jnp.float32)
    inputs = tuple(range(1, x.ndim))
    largest = jnp.abs(x).max(inputs, keepdims=True)
    scales = jnp.where(largest > 0, largest, 1) / maximum
    return jnp.round(x / scales), scales.reshape(-1)


def _integer_product(weight: jax.Array, x: jax.Array) -> jax.Array:
    """int8 [*out, *in], int8 [T, *in] -> int32 [*out, T]."""
    product: jax.Array = lax.platform_dependent(
        weight, x, cpu=_integer_product_on_cpu, default=partial(_product, dtype=jnp.int32)
    )
    return product


def _integer_product_on_cpu(weight: jax.Array, x: jax.Array) -> jax.Array:
    """With two rows or more, and large matrices in blocks of rows: XLA takes 5 to 30 times as long otherwise."""
    tokens, inputs = x.shape[0], x.ndim - 1
    if tokens == 1:
        x = jnp.pad(x, ((0, 1), *((0, 0),) * inputs))
    blocks = _blocks(weight.shape[:-inputs])
    if blocks == 1:
        return _product(weight, x, jnp.int32)[..., :tokens]
    blocked = weight.reshape(blocks, -1, *weight.shape[1:])
    contracted = tuple(range(blocked.ndim - inputs, blocked.ndim)), tuple(range(2, x.ndim + 1))
    x = lax.optimization_barrier(x)  # or every block's copy of it would be computed anew
    product: jax.Array = lax.dot_general(
        blocked,
        jnp.broadcast_to(x, (blocks, *x.shape)),
        (contracted, ((0,), (0,))),
        preferred_element_type=jnp.int32,
    )
    product = lax.optimization_barrier(product)
    return product.reshape(*weight.shape[:-inputs], -1)[..., :tokens]


def _blocks(outputs: tuple[int, ...]) -> int:
    """The largest power of two by which the first axis divides into blocks of at least `_BLOCK_ROWS` outputs."""
    blocks = 1
    while outputs[0] % (2 * blocks) == 0 and prod(outputs) >= 2 * blocks * _BLOCK_ROWS:
        blocks *= 2
    return blocks
