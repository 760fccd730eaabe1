"""Inspection: what a checkpoint is, what it takes to serve it, and what is wrong with it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from serving.checkpoints.verification import OnProgress, unreadable
from serving.checkpoints.written_files import wrong_sums
from serving.cluster.chips import CHIPS
from serving.config import ModelConfig, Role
from serving.gateway.text.tokenizer import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, SENTINELS, Tokenizer
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.chip_memory import kv_tokens
from serving.models.topology import Accelerator, Topology
from sharding.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.quantised import QuantisedSource
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.sizes import check_tensor_parallel, num_parameters, weight_bytes

_SHAPES = {"Gemma or CodeGemma 2B": CODEGEMMA_2B, "Gemma or CodeGemma 7B": CODEGEMMA_7B}
_TOPOLOGIES = (("v5e", 1), ("v5e", 4), ("v5e", 8), ("l4", 1), ("l4", 4), ("a100-40", 1), ("a100-80", 1), ("h100", 1))
"""Chips of one group."""
_EPSILON = 1e-6
"""Of RMSNorm, in every published Gemma."""


@dataclass(frozen=True, kw_only=True)
class InspectedTokenizer:
    """A checkpoint's tokenizer.

    Attributes:
      kind: the name of such a file.
      vocab_size: of its ids.
      control: the text of each control token that requests and answers have to do with -> its id.
    """

    file: str
    kind: str
    vocab_size: int
    control: Mapping[str, int]

    @property
    def fills_in_the_middle(self) -> bool:
        """Whether it has the tokens for it; the model has learnt them if it is a CodeGemma."""
        return {FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX} <= self.control.keys()


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a group of such chips has room for.

    Attributes:
      weights: bytes on each chip, in bfloat16 or as they are quantised.
      kv_tokens: of the KV cache beside them, with the limits of a model that says none; None: it does not fit.
      obstacle: why not.
    """

    chip: str
    chips: int
    weights: int | None = None
    kv_tokens: int | None = None
    obstacle: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found.

    Attributes:
      form: the name of its form; None: it is no checkpoint that can be read, and `problems` says why.
      family: what models have this shape.
      parameters: how many numbers the model has.
      stored_as: by type, in the form's words: how many of them.
      problems: what is wrong, each with a remedy.
    """

    path: str
    form: str | None = None
    family: str = ""
    parameters: int = 0
    config: GemmaConfig | None = None
    stored_as: Mapping[str, int] = field(default_factory=dict)
    tokenizer: InspectedTokenizer | None = None
    fits: tuple[Fit, ...] = ()
    verified: bool = False
    problems: tuple[str, ...] = ()


def inspect_checkpoint(
    path: Path, *, verify: bool = False, on_progress: OnProgress = lambda done, total: None
) -> Inspection:
    """Looks at a checkpoint; reads its headers and its tokenizer, and all of its weights to `verify` them.

    Args:
      path: a file or directory of any form.
      verify: look whether every number is there, and finite, and whether files have the hashes beside them.
      on_progress: called as `on_progress(done, total)`, in numbers while they are verified, then in hashes.
    """
    try:
        checkpoint = open_checkpoint(path)
    except (CheckpointError, OSError) as error:
        return Inspection(path=str(path), problems=(str(error),))
    config = checkpoint.config
    problems: list[str] = []
    tokenizer = _tokenizer(checkpoint, problems)
    if config.rms_norm_eps != _EPSILON:
        problems.append(
            f"{path}: the norms' epsilon is {config.rms_norm_eps:g}, and {_EPSILON:g} in every published Gemma: a "
            "default of the tool that wrote it. Answers hardly change; correct the file if you can."
        )
    if verify:
        problems += unreadable(_matrices(checkpoint), on_progress)
        problems += wrong_sums(path, on_progress) if path.is_dir() else []
    return Inspection(
        path=str(path),
        form=checkpoint.format,
        family=_family(config),
        parameters=num_parameters(config),
        config=config,
        stored_as=_stored_as(checkpoint),
        tokenizer=tokenizer,
        fits=tuple(_fit(config, chip, chips) for chip, chips in _TOPOLOGIES),
        verified=verify,
        problems=tuple(problems),
    )


def _tokenizer(checkpoint: Checkpoint, problems: list[str]) -> InspectedTokenizer | None:
    stored = checkpoint.tokenizer
    if stored is None:
        problems.append(f"{checkpoint.path}: has no tokenizer. Put the model's tokenizer.model beside the weights.")
        return None
    try:
        tokenizer = load_tokenizer(checkpoint.path)
    except ValueError as error:
        problems.append(str(error))
        return None
    return InspectedTokenizer(
        file=str(stored.file),
        kind=stored.kind.value,
        vocab_size=tokenizer.vocab_size,
        control=_control(tokenizer),
    )


def _control(tokenizer: Tokenizer) -> dict[str, int]:
    ids = ((text, tokenizer.control_id(text)) for text in SENTINELS)
    return {text: token_id for text, token_id in ids if token_id is not None}


def _family(config: GemmaConfig) -> str:
    for name, shape in _SHAPES.items():
        if (config.num_layers, config.embed_dim, config.num_heads) == (
            shape.num_layers,
            shape.embed_dim,
            shape.num_heads,
        ):
            return name
    return f"Gemma {3 if config.qk_norm else 1} of its own shape"


def _stored_as(checkpoint: Checkpoint) -> dict[str, int]:
    numbers = Counter[str]()
    for source in checkpoint.tensors.values():
        stored = source.stored_values if isinstance(source, QuantisedSource) else source
        numbers[stored.matrix.type] += prod(stored.shape)
    return dict(numbers.most_common())


def _fit(config: GemmaConfig, chip: str, chips: int) -> Fit:
    about = CHIPS[chip]
    accelerator: Accelerator = "tpu-v5litepod" if about.platform == "tpu" else "gpu"
    topology = Topology(accelerator=accelerator, chips_per_host=chips)
    model = ModelConfig(id="model", checkpoint="model", roles=(Role.FIM,), topology=topology)
    limits = model.limits.model_copy(update={"max_context": min(model.limits.max_context, config.max_context)})
    try:
        check_tensor_parallel(config, chips)
        tokens = kv_tokens(model.model_copy(update={"limits": limits}), config, about.memory)
    except ValueError as error:
        return Fit(chip=chip, chips=chips, obstacle=str(error).removeprefix("models.model: "))
    return Fit(chip=chip, chips=chips, weights=weight_bytes(config, chips, 2), kv_tokens=tokens)


def _matrices(checkpoint: Checkpoint) -> list[Matrix]:
    return [
        stored.matrix
        for source in checkpoint.tensors.values()
        for stored in (
            (source.stored_values, source.stored_scales) if isinstance(source, QuantisedSource) else (source,)
        )
    ]
