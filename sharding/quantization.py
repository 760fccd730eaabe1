"""Quantization: how matrices are stored in few bits. Needs neither JAX nor NumPy; `quantise.py` has the arithmetic.

Symmetric, without zero points: a number is `value * scale`, with |value| at most 127 or 7. A scale belongs to an output
of int8, over all its inputs, and to a group of 32 neighbouring inputs of int4. Norms stay as they are.
"""

from enum import StrEnum

GROUP = 32
"""Inputs that share a scale of int4."""
SCALE_BYTES = 4
"""Scales are float32."""


class Quantization(StrEnum):
    """What is quantised, and in how many bits.

    Attributes:
      INT8: weights for each output; activations for each token, as they come.
      INT8_WEIGHTS: weights as in INT8, and activations not.
      INT4: weights in groups, and activations not.
    """

    INT8 = "int8"
    INT8_WEIGHTS = "int8-weights"
    INT4 = "int4"

    @property
    def stored(self) -> "Quantization":
        """The member by whose name files store the same weights."""
        return Quantization.INT4 if self is Quantization.INT4 else Quantization.INT8

    @property
    def bits(self) -> int:
        """Of a value, in memory and in files."""
        return 4 if self is Quantization.INT4 else 8

    @property
    def maximum(self) -> int:
        """The largest absolute value."""
        return (1 << (self.bits - 1)) - 1

    def scales_shape(self, outputs: tuple[int, ...], inputs: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the scales of a matrix with these axes: `outputs`, or for groups all axes, the last divided.

        Raises:
          ValueError: the last axis is no whole number of groups.
        """
        if self is not Quantization.INT4:
            return outputs
        if inputs[-1] % GROUP:
            raise ValueError(f"int4 needs inputs in groups of {GROUP}, and this model has {inputs[-1]}. Choose int8.")
        return (*outputs, *inputs[:-1], inputs[-1] // GROUP)
