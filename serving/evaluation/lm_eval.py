"""lm_eval_command: how lm-evaluation-harness asks this service what the model card has besides code."""

TASKS = {
    "boolq": "BoolQ",
    "piqa": "PIQA",
    "triviaqa": "TriviaQA",
    "arc_challenge": "ARC-Challenge",
    "hellaswag": "HellaSwag",
    "mmlu": "MMLU",
    "winogrande": "WinoGrande",
    "gsm8k": "GSM8K",
    "minerva_math": "MATH",
}
"""The card's benchmarks by lm-eval's names. Their data come from the Hugging Face Hub, with the harness."""


def lm_eval_command(url: str, model: str, context: int, tasks: list[str], out: str) -> list[str]:
    """The command, with words as a shell takes them.

    Texts go as they are (`tokenized_requests=False`): the service puts BOS before them and has the tokenizer.
    """
    where = f"model={model},base_url={url}/v1/completions,tokenized_requests=False,max_length={context}"
    return [
        *("lm_eval", "run", "--model", "local-completions", "--tasks", ",".join(tasks)),
        *("--model_args", where, "--batch_size", "8", "--output_path", out),
    ]
