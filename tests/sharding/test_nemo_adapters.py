"""NeMo's adapters are read as they are computed there; what would be computed otherwise is refused by name."""

import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharding.adapters import Adapter, AdapterError
from sharding.adapters.files import looks_like_adapter
from sharding.adapters.forms import adapter_version, is_adapter, open_adapter
from sharding.adapters.reader import read_adapter
from sharding.config import GemmaConfig
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint import nemo_files
from tests.sharding.checkpoint.nemo_archives import archived, tar_with
from tests.sharding.checkpoint.nemo_files import stacked, write_ranks, write_torch_dist, write_zarr
from tests.sharding.checkpoint.torch_files import Call, Global, write_torch_file
from tests.sharding.nemo_adapter_files import (
    BASE,
    NEMO2_CANONICAL,
    NEMO_LAYOUTS,
    RANK,
    fused_adapter,
    nemo_tensors,
    write_flat,
    write_nemo,
    write_nemo1_config,
    write_nemo2,
    write_nemo2_config,
)
from tests.sharding.random_adapters import random_adapter
from tests.sharding.small_models import LOCAL, MHA, MQA

KQV = "decoder.layers.0.self_attention.adapter_layer.lora_kqv_adapter"


def assert_same(actual: Adapter, expected: Adapter) -> None:
    assert actual.weights.keys() == expected.weights.keys()
    for path, weight in expected.weights.items():
        np.testing.assert_allclose(actual.weights[path], weight, rtol=1e-6)


@pytest.mark.parametrize("config", [LOCAL, MQA, MHA], ids=["groups", "one group", "as many groups as heads"])
@pytest.mark.parametrize("layout", NEMO_LAYOUTS)
def test_every_layout_gives_an_a_and_a_b_of_each_projection(layout: str, config: GemmaConfig, tmp_path: Path) -> None:
    expected = fused_adapter(config)
    path = NEMO_LAYOUTS[layout](tmp_path / "adapter", expected, config)
    assert looks_like_adapter(path)
    assert is_adapter(path)
    found = read_adapter(path, config, RANK)
    assert_same(found, expected)
    assert found.version == adapter_version(path)


def test_adapters_of_q_k_and_v_apart_are_read_where_all_heads_have_one_key(tmp_path: Path) -> None:
    expected = random_adapter(MQA, 3, RANK)
    assert_same(read_adapter(write_nemo2(tmp_path / "a", expected, MQA, names=NEMO2_CANONICAL), MQA, RANK), expected)


def test_adapters_of_q_k_and_v_apart_are_refused_where_nemo_adds_them_to_other_heads(tmp_path: Path) -> None:
    path = write_nemo2(tmp_path / "a", random_adapter(LOCAL, 3, RANK), LOCAL, names=NEMO2_CANONICAL)
    with pytest.raises(AdapterError, match="CanonicalLoRA of grouped heads"):
        read_adapter(path, LOCAL, RANK)


def test_the_factor_is_alpha_over_rank_and_1_without_alpha(tmp_path: Path) -> None:
    adapter = fused_adapter(LOCAL)
    for alpha, factor in ((2, 0.5), (None, 1.0)):
        directory = write_nemo1_config(tmp_path / str(alpha), LOCAL, {"alpha": alpha})
        write_ranks(directory, nemo_tensors(adapter, LOCAL, factor=factor), LOCAL.num_layers)
        assert_same(read_adapter(directory, LOCAL, RANK), adapter)


def test_chosen_layers_and_projections_are_enough(tmp_path: Path) -> None:
    adapter = fused_adapter(LOCAL)
    tensors = {name: value for name, value in nemo_tensors(adapter, LOCAL).items() if name.startswith(KQV)}
    directory = write_nemo1_config(tmp_path, LOCAL, {"layer_selection": [1], "target_modules": ["attention_qkv"]})
    write_ranks(directory, tensors, LOCAL.num_layers)
    found = read_adapter(directory, LOCAL, RANK)
    part = {path: value for path, value in adapter.weights.items() if path in found.weights}
    assert len(part) == 6
    assert_same(found, Adapter(part, ""))


def test_names_of_models_before_megatron_core_are_known(tmp_path: Path) -> None:
    adapter = fused_adapter(MHA)
    tensors = {
        "model." + name.replace("decoder.", "language_model.encoder."): value
        for name, value in nemo_tensors(adapter, MHA).items()
    }
    write_torch_file(write_nemo1_config(tmp_path, MHA) / "model_weights.ckpt", tensors)
    assert_same(read_adapter(tmp_path, MHA, RANK), adapter)


def test_chunks_of_zarr_in_gzip_are_read(tmp_path: Path) -> None:
    adapter = fused_adapter(LOCAL)
    folder = write_nemo1_config(tmp_path / "a", LOCAL) / "model_weights"
    write_zarr(folder, stacked(nemo_tensors(adapter, LOCAL)), "model.", {"id": "gzip", "level": 3})
    assert_same(read_adapter(tmp_path / "a", LOCAL, RANK), adapter)


def test_an_adapter_says_what_it_is(tmp_path: Path) -> None:
    for path in (
        write_nemo(tmp_path / "a.nemo", fused_adapter(LOCAL), LOCAL),
        write_nemo2(tmp_path / "b", fused_adapter(LOCAL), LOCAL),
    ):
        stored = open_adapter(path)
        assert (stored.form, stored.rank, stored.made_for) == ("NVIDIA NeMo", RANK, BASE)
        assert stored.projections[:3] == ("attention.q", "attention.k", "attention.v")
        assert len(stored.projections) == 7


def test_the_version_is_that_of_the_contents(tmp_path: Path) -> None:
    one = write_nemo2(tmp_path / "a", fused_adapter(LOCAL, 1), LOCAL)
    other = shutil.copytree(one, tmp_path / "b")  # not written again: its archives have the time of that in them
    third = write_nemo2(tmp_path / "c", fused_adapter(LOCAL, 2), LOCAL)
    versions = [read_adapter(path, LOCAL, RANK).version for path in (one, other, third)]
    assert versions[0] == versions[1] != versions[2]


def test_a_whole_model_is_no_adapter(tmp_path: Path) -> None:
    config = CONFIGS["gemma-mqa"]
    model = nemo_files.write_flat(tmp_path / "model", config, random_tensors(config, 1))
    archive = archived(model, tmp_path / "model.nemo")
    assert not is_adapter(archive)
    with pytest.raises(AdapterError, match="is a whole model"):
        read_adapter(archive, MQA, RANK)


def refused(path: Path, config: GemmaConfig = LOCAL, max_rank: int = RANK) -> str:
    with pytest.raises(AdapterError) as raised:
        read_adapter(path, config, max_rank)
    text = str(raised.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("lora", "changes", "named"),
    [
        ({}, {"peft": {"peft_scheme": "ia3"}}, "peft_scheme is 'ia3'"),
        ({}, {"peft": {"peft_scheme": "lora"}}, "peft.lora_tuning is no mapping"),
        ({"weight_tying": True}, {}, "weight_tying"),
        ({"adapter_dim": 0}, {}, "adapter_dim=0"),
        ({"adapter_dim": 17}, {}, "its rank is 17; max_rank is 4"),
        ({"adapter_dim": 3}, {}, "model_config.yaml ask for (3, 64)"),
        ({"alpha": "much"}, {}, "alpha='much'"),
        ({"target_modules": ["embedding"]}, {}, "target_modules has 'embedding'"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused_by_name(
    lora: Mapping[str, Any], changes: Mapping[str, Any], named: str, tmp_path: Path
) -> None:
    path = write_flat(tmp_path, fused_adapter(LOCAL), LOCAL)
    write_nemo1_config(path, LOCAL, lora, **changes)
    assert named in refused(path)


def test_dora_of_nemo_2_is_refused_by_name(tmp_path: Path) -> None:
    write_nemo2_config(tmp_path / "a", kind="dora.DoRA")
    write_torch_dist(tmp_path / "a" / "weights", {"x": np.ones((2, 2), np.float32)}, "module.")
    assert "model_transform is 'DoRA'" in refused(tmp_path / "a")


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.pop(name)


def with_value(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without(f"{KQV}.linear_out.weight"), "it has only"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(KQV)], "of layer 0"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors) if "kqv" in name], "no tensor for attention."),
        (with_value("decoder.layers.0.mlp.linear_fc1.weight", np.ones((2, 2), np.float32)), "is no part of LoRA"),
        (with_value(f"{KQV}.linear_in.weight", np.full((RANK, LOCAL.embed_dim), np.nan, np.float32)), "none at all"),
        (with_value(f"{KQV}.linear_in.weight", np.ones((RANK, LOCAL.embed_dim), np.int8)), "the type I8"),
        (with_value(f"{KQV}.linear_out.weight", np.ones((2, RANK), np.float32)), "has 2 rows; this model asks for 256"),
        (with_value(KQV.replace("s.0", "s.7") + ".linear_in.weight", np.ones((RANK, 64), np.float32)), "layers.7"),
    ],
)
def test_missing_strange_and_damaged_tensors_are_named(
    change: Callable[[dict[str, Any]], object], named: str, tmp_path: Path
) -> None:
    tensors = nemo_tensors(fused_adapter(LOCAL), LOCAL)
    change(tensors)
    write_torch_file(
        write_nemo1_config(tmp_path, LOCAL) / "model_weights.ckpt",
        {f"model.{name}": value for name, value in tensors.items()},
    )
    assert named in refused(tmp_path)


def test_an_adapter_of_another_model_is_refused_with_the_model_that_it_was_made_for(tmp_path: Path) -> None:
    other = replace(LOCAL, embed_dim=96)
    assert f"It was made for '{BASE}'" in refused(write_nemo(tmp_path / "a.nemo", fused_adapter(other), other))


def test_a_pickle_that_runs_something_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bomb = Call(Global("posix system"), (f"touch {ran}",))
    folder = write_nemo1_config(tmp_path / "a", LOCAL)
    write_torch_file(folder / "model_weights.ckpt", {"model.x": bomb})
    text = refused(archived(folder, tmp_path / "a.nemo"))
    assert "posix.system" in text
    assert not ran.exists()


@pytest.mark.parametrize("name", ["../../adapter", "/etc/adapter", "a/../../b"])
def test_an_archive_that_leads_out_of_itself_is_refused(name: str, tmp_path: Path) -> None:
    assert "leads out of the archive" in refused(tar_with(tmp_path / "a.nemo", (tarfile.TarInfo(name), b"x")))


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("model_config.yaml")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "is a link" in refused(tar_with(tmp_path / "a.nemo", (link, b"")))


def test_more_than_an_adapter_can_have_is_not_read(tmp_path: Path) -> None:
    path = write_nemo(tmp_path / "a.nemo", fused_adapter(LOCAL), LOCAL)
    with path.open("r+b") as opened:
        opened.truncate(1 << 40)  # takes no space
    assert "bytes at most" in refused(path)
