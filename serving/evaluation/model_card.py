"""What Google's model card says CodeGemma solves, in percent (ai.google.dev/gemma/docs/codegemma/model_card).

The card says neither how prompts were written nor what a program could use, so a few points of difference mean nothing.
Of version 1.1 only the rows that were found in a second place are here.
"""

_MODELS = ("2B", "7B", "7B-IT")
_ROWS: dict[str, tuple[float, float, float]] = {
    "HumanEval": (31.1, 44.5, 56.1),
    "MBPP": (43.6, 56.2, 54.2),
    "HumanEval Single Line": (78.41, 76.09, 68.25),
    "HumanEval Multi Line": (51.44, 58.44, 20.05),
    "BC HE C++": (24.2, 32.9, 42.2),
    "BC HE C#": (10.6, 22.4, 26.7),
    "BC HE Go": (20.5, 21.7, 28.6),
    "BC HE Java": (29.2, 41.0, 48.4),
    "BC HE JavaScript": (21.7, 39.8, 46.0),
    "BC HE Kotlin": (28.0, 39.8, 51.6),
    "BC HE Python": (21.7, 42.2, 48.4),
    "BC HE Rust": (26.7, 34.1, 36.0),
    "BC MBPP C++": (47.1, 53.8, 56.7),
    "BC MBPP C#": (28.7, 32.5, 41.2),
    "BC MBPP Go": (45.6, 43.3, 46.2),
    "BC MBPP Java": (41.8, 50.3, 57.3),
    "BC MBPP JavaScript": (45.3, 58.2, 61.4),
    "BC MBPP Kotlin": (46.8, 54.7, 59.9),
    "BC MBPP Python": (38.6, 59.1, 62.0),
    "BC MBPP Rust": (45.3, 52.9, 53.5),
}
_VERSION_1_1 = {"HumanEval": {"2B 1.1": 37.8, "7B-IT 1.1": 60.4}, "MBPP": {"2B 1.1": 49.2}}


def card_figures(row: str) -> dict[str, float]:
    """The card's figures by model; none if it has no such row."""
    if row not in _ROWS:
        return {}
    return dict(zip(_MODELS, _ROWS[row], strict=True)) | _VERSION_1_1.get(row, {})
