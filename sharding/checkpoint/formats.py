"""The forms that are known, in the order in which they are tried."""

from sharding.checkpoint.gguf import GGUF
from sharding.checkpoint.huggingface import HUGGING_FACE
from sharding.checkpoint.jlama import JLAMA
from sharding.checkpoint.nemo import NEMO

FORMATS = (GGUF, NEMO, JLAMA, HUGGING_FACE)
