"""Damage to the tokenizer beside good weights: it is cut between two of its pieces, or another model's."""

from collections.abc import Callable
from pathlib import Path

from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

from tests.damage.kinds.damage import Damage, Draw, Kind, pick


def _is_tokenizer(file: Path) -> bool:
    return file.suffix == ".spm" or file.name.endswith("tokenizer.model")


def _cut(model: ModelProto) -> None:
    del model.pieces[-1]
    model.ClearField("trainer_spec")
    model.ClearField("normalizer_spec")


def _few(model: ModelProto) -> None:
    del model.pieces[262:]


def _without_normalizer(model: ModelProto) -> None:
    model.ClearField("normalizer_spec")


def _of_llama(model: ModelProto) -> None:
    model.pieces[2].piece = "<s>"


def _unigram(model: ModelProto) -> None:
    model.trainer_spec.model_type = TrainerSpec.UNIGRAM


def _larger(model: ModelProto) -> None:
    for number in range(len(model.pieces)):
        model.pieces.add(piece=f"more {number}")


def _without_bytes(model: ModelProto) -> None:
    del model.pieces[100:200]


def _twice(model: ModelProto) -> None:
    model.pieces[10].piece = model.pieces[11].piece


_EDITS: tuple[Callable[[ModelProto], None], ...] = (
    *(_cut, _few, _without_normalizer, _of_llama, _unigram, _larger, _without_bytes, _twice),
)


def _other(file: Path, draw: Draw) -> Damage:
    edit, model = pick(draw, _EDITS), ModelProto.FromString(file.read_bytes())
    edit(model)
    file.write_bytes(model.SerializeToString())
    return Damage(text=f"{file.name} is another: {edit.__name__}", untrusted_tokenizer=True)


TOKENIZERS = {"tokenizer": Kind(_is_tokenizer, _other), "another tokenizer": Kind(_is_tokenizer, _other)}
