"""Forms of weights that are known by name and not read, each with what to do instead."""

from pathlib import Path

_OTHER_FORMS = {
    "*.onnx": "ONNX",
    "onnx/*.onnx": "ONNX",
    "pytorch_model*.bin*": "pickled by PyTorch (pytorch_model.bin)",
    "*.msgpack": "of Flax (flax_model.msgpack)",
    "tf_model.h5": "of TensorFlow (tf_model.h5)",
    "*.tflite": "of LiteRT",
    "*.task": "of MediaPipe",
    "*.engine": "compiled by TensorRT-LLM",
    "adapter_model.safetensors": "those of an adapter alone",
}


def other_form(directory: Path) -> str | None:
    """What to say of a directory of such weights; None: it has none."""
    for pattern, name in _OTHER_FORMS.items():
        if any(directory.glob(pattern)):
            return f"its weights are {name}, which is not supported. Take the safetensors or GGUF of the same model."
    return None
