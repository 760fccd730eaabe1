"""The tokenizer model beside this file: CodeGemma's token ids (`build_codegemma_tokenizer.py`)."""

from pathlib import Path

CODEGEMMA_TOKENIZER = Path(__file__).with_suffix(".model")
