"""Quantization: how matrices are stored in few bits. Needs neither JAX nor NumPy; `quantise.py` has the arithmetic.

Symmetric, without zero points: a number is `value * scale`, with |value| at most 127 or 7; files of other tools have
-128 and -8 too. A scale belongs to an output, over all its inputs, or to a group of 32 neighbouring inputs. Norms stay
as they are.
"""

from enum import StrEnum

GROUP = 32
"""Inputs that share a scale where weights are in groups."""
SCALE_BYTES = 4
"""Scales are float32."""


class Quantization(StrEnum):
    """What is quantised, and in how many bits.

    Attributes:
      INT8: weights for each output; activations for each token, as they come.
      INT8_WEIGHTS: weights as in INT8, and activations not.
      INT8_GROUPS: weights in groups, and activations not. What GGUF's Q8_0 and Jlama's I8 are.
      INT4: weights in groups, and activations not. What GGUF's Q4_0 and Jlama's Q4 are.
    """

    INT8 = "int8"
    INT8_WEIGHTS = "int8-weights"
    INT8_GROUPS = "int8-groups"
    INT4 = "int4"

    @property
    def grouped(self) -> bool:
        """Whether a scale belongs to a group of inputs."""
        return self in (Quantization.INT4, Quantization.INT8_GROUPS)

    @property
    def embedding(self) -> "Quantization":
        """How the embedding, which is the head too, is quantised beside projections of this kind."""
        return Quantization.INT8_GROUPS if self is Quantization.INT8_GROUPS else Quantization.INT8_WEIGHTS

    def held_by(self, other: "Quantization") -> bool:
        """Whether weights of this kind are weights of the other kind as they are."""
        return self.grouped == other.grouped and self.bits <= other.bits

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
        if not self.grouped:
            return outputs
        if inputs[-1] % GROUP:
            raise ValueError(f"{self} needs inputs in groups of {GROUP}, and this model has {inputs[-1]}. Choose int8.")
        return (*outputs, *inputs[:-1], inputs[-1] // GROUP)
