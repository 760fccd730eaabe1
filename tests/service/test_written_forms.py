"""`codegemma serve` answers from a checkpoint of any form as from the Hugging Face form of the same weights.

`make forms` has other libraries write the checkpoints, and transformers compute what is due.
"""

import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from serving.cli.serve_file import demo_file
from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.text.tokenizers import load_tokenizer
from tests.forms.written import DIRECTORY, REFERENCE, WrittenForm, written_forms
from tests.service.serve_process import Server

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(DIRECTORY is None, reason="make forms writes the checkpoints"),
]
MODELS = sorted({form.model for form in written_forms()})
PARTS = 2
"""Starts for each model and number of devices: a form is a process, which takes some 400 MB."""
LIMITS = {"max_rows": 2, "max_step_tokens": 16, "max_context": 96, "page_size": 16, "kv_tokens": 192}
MAX_LOGPROB_ERROR, MAX_LOGPROB_ERROR_QUANTISED = 1e-4, 1e-2


def write_service(file: Path, forms: Iterable[WrittenForm], devices: int) -> Path:
    """A configuration of one model for each form."""
    models = [
        {
            "id": str(form),
            "checkpoint": str(form.path),
            "roles": ["fim"],
            "dtype": "float32",
            "topology": {"chips_per_host": devices},
            "limits": LIMITS,
        }
        for form in forms
    ]
    document = yaml.safe_load(demo_file().read_text())
    shares = {str(model["id"]): 1 for model in models}
    document["applications"][0]["args"] = {"models": models, "routing": {"roles": {"fim": {"models": shares}}}}
    file.write_text(yaml.safe_dump(document))
    return file


def answers(url: str, form: WrittenForm) -> list[dict[str, Any]]:
    """The log probabilities of each prompt and of what follows it, in the API's words."""
    found = []
    for case in form.cases:
        body = {"model": str(form), "prompt": case["prompt"], "max_tokens": len(case["tokens"])}
        body |= {"echo": True, "logprobs": 1, "temperature": 0}
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60).raise_for_status().json()
        found.append(answer["choices"][0]["logprobs"])
    return found


def name(tokenizer: Tokenizer, token_id: int) -> str:
    """What the API calls a token."""
    try:
        return tokenizer.control_text(token_id) or tokenizer.id_bytes(token_id).decode()
    except UnicodeDecodeError as error:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in error.object)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("model", MODELS)
def test_every_form_is_served_as_the_hugging_face_form(tmp_path: Path, model: str, devices: int, part: int) -> None:
    of_model = [form for form in written_forms() if form.model == model]
    (exact,) = (form.reference for form in of_model if form.weights == "exact" and form.path.name == REFERENCE)
    forms = [exact, *[form for form in of_model if form.path.name != REFERENCE][part::PARTS]]
    with Server("--config", str(write_service(tmp_path / "forms.yaml", forms, devices))) as server:
        server.output_until("Ctrl-C drains")
        served = {form: answers(f"http://127.0.0.1:{server.http_port}", form) for form in forms}
        server.ends_well_by(signal.SIGINT)
    tokenizer = load_tokenizer(exact.path)
    for form, found in served.items():
        for logprobs, case in zip(found, form.cases, strict=True):
            ids = case["prompt"] + case["tokens"]
            assert logprobs["tokens"] == [name(tokenizer, token_id) for token_id in ids], form
            error = np.abs(np.array(logprobs["token_logprobs"][1:]) - np.array(case["logprobs"])).max()
            assert error < (MAX_LOGPROB_ERROR_QUANTISED if form.is_quantised else MAX_LOGPROB_ERROR), form
        if form.weights == "exact":
            assert found == served[exact], form
