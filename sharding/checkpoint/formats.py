"""The forms that are known, in the order in which they are tried."""

from sharding.checkpoint.gemma_pytorch import GEMMA_PYTORCH
from sharding.checkpoint.gguf import GGUF
from sharding.checkpoint.huggingface import HUGGING_FACE
from sharding.checkpoint.jlama import JLAMA
from sharding.checkpoint.keras import KERAS
from sharding.checkpoint.nemo import NEMO
from sharding.checkpoint.orbax import ORBAX

FORMATS = (GGUF, JLAMA, HUGGING_FACE, NEMO, KERAS, ORBAX, GEMMA_PYTORCH)
DIRECTORIES = HUGGING_FACE
"""What is said of a directory that none of them recognises: most are of this form, and incomplete."""
