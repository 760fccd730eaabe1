"""GemmaConfig: the shape of a Gemma 1 or Gemma 3 text model."""

from dataclasses import dataclass, replace

from sharding.quantization import Quantization

NOT_QUANTISED = "none"
"""Said where a `Quantization` may be said, of weights that are to have the dtype of activations."""


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """Sizes and variants; Gemma 1 and Gemma 3 differ by these fields alone.

    Attributes:
      vocab_size: V.  embed_dim: E.  mlp_dim: F, of the gate and of the up projection each.
      num_layers, num_heads (N), num_kv_heads (K), head_dim (D): N * D need not be E.
      max_context: positions the model was trained for.
      rms_norm_eps: added to the mean square in RMSNorm.
      rope_theta: RoPE base of layers with global attention.
      rope_scale: positions are divided by this in layers with global attention (Gemma 3 4B and larger: 8).
      query_scale: factor on the queries; D ** -0.5 in every Gemma but Gemma 3 27B.
      qk_norm: RMSNorm over D on queries and keys (Gemma 3).
      post_norms: RMSNorm after attention and MLP too, before the residual addition (Gemma 3, "sandwich").
      sliding_window: a local layer's token sees this many positions, itself included; None: all layers are global.
      global_every: with a sliding window, layer i is global iff (i + 1) % global_every == 0.
      local_rope_theta: RoPE base of local layers.
      quantization: of the projections; None: they have the dtype of activations.
      embedding_quantization: of the embedding, which is the head too; None: it has the dtype of activations.
    """

    vocab_size: int
    embed_dim: int
    mlp_dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_context: int = 8192
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scale: float = 1.0
    query_scale: float
    qk_norm: bool = False
    post_norms: bool = False
    sliding_window: int | None = None
    global_every: int = 6
    local_rope_theta: float = 10_000.0
    quantization: Quantization | None = None
    embedding_quantization: Quantization | None = None

    def window(self, layer: int) -> int | None:
        """The sliding window of a layer; None for global attention."""
        if self.sliding_window is None or (layer + 1) % self.global_every == 0:
            return None
        return self.sliding_window

    def quantised(self, quantization: str | None) -> "GemmaConfig":
        """Returns the same model with its matrices quantised so (see `Quantization`).

        Args:
          quantization: what is quantised already in a way that this one holds stays as it is, other weights are decoded
            and quantised anew; `none`: decoded; None: as they are.
        """
        if quantization is None:
            return self
        if quantization == NOT_QUANTISED:
            return replace(self, quantization=None, embedding_quantization=None)
        wanted, embedding = Quantization(quantization), self.embedding_quantization
        if self.quantization is None or not self.quantization.held_by(wanted):
            return replace(self, quantization=wanted, embedding_quantization=wanted.embedding)
        if embedding is not None and embedding.held_by(wanted.embedding):
            embedding = wanted.embedding
        return replace(self, quantization=wanted, embedding_quantization=embedding)


CODEGEMMA_2B = GemmaConfig(
    vocab_size=256_000,
    embed_dim=2048,
    mlp_dim=16_384,
    num_layers=18,
    num_heads=8,
    num_kv_heads=1,
    head_dim=256,
    query_scale=256**-0.5,
)
CODEGEMMA_7B = GemmaConfig(
    vocab_size=256_000,
    embed_dim=3072,
    mlp_dim=24_576,
    num_layers=28,
    num_heads=16,
    num_kv_heads=16,
    head_dim=256,
    query_scale=256**-0.5,
)
"""CodeGemma 7B and 7B-IT: the same shape."""
