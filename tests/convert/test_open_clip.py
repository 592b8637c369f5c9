"""open_clip's CLIP is transformers' CLIP, in other words and with fused projections."""

import json

import numpy as np
import pytest
import weight_samples as samples

from mmjax import config
from mmjax.convert import tensor_reader, tensor_writer
from mmjax.convert.families import encoders, family
from mmjax.convert.parts import Wishes
from mmjax.convert.storing import pending
from mmjax.convert.tensor_writer import Pending

SETTINGS = {
    "model_cfg": {
        "embed_dim": 4,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 8,
            "layers": 3,
            "width": 8,
            "head_width": 4,
            "patch_size": 4,
            "mlp_ratio": 1.5,
        },
        "text_cfg": {"width": 4},
    },
    "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]},
}
LAYER = "visual.transformer.resblocks.1.attn."


def params() -> dict[str, np.ndarray]:
    model = samples.llava()
    model.vit.features = -1
    made = samples.parameters(model)
    return {path: x for path, x in made.items() if path.startswith("vit/")}


def test_both_layouts_give_the_same_parameters(tmp_path):
    ours, vit = params(), samples.llava().vit
    vit.features = -1
    folders = {"open_clip": tmp_path / "open_clip", "clip": tmp_path / "clip"}
    for name, found, root in (
        ("open_clip", encoders.OPEN_CLIP, ("visual.",)),
        ("clip", encoders.CLIP, ("vision_model.",)),
    ):
        folders[name].mkdir()
        text = np.zeros((3, 4), np.float32)
        extra = Pending(
            "text_projection", text.shape, text.dtype, lambda text=text: text
        )
        if name == "clip":
            extra = extra._replace(name="text_projection.weight")
        tensors = [*pending(found.rules(vit, root), ours), extra]
        tensor_writer.write(folders[name], tensors, 10**9)
    path = folders["open_clip"] / "model.safetensors"
    fused = tensor_reader.read(path)[LAYER + "in_proj_weight"]
    kernels = [ours[f"vit/blocks/attention/{n}/kernel"][1] for n in ("query", "key")]
    for place, kernel in enumerate(kernels):  # [E, N, H] each
        third = fused[place * 8 : place * 8 + 8]
        np.testing.assert_array_equal(third, kernel.reshape(8, 8).T)
    path.rename(path.with_name("open_clip_model.safetensors"))
    (path.parent / "open_clip_config.json").write_text(json.dumps(SETTINGS))
    clip = family.settings_of(encoders.CLIP, vit, "vit")
    settings = {"model_type": "clip", "vision_config": clip}
    (folders["clip"] / "config.json").write_text(json.dumps(settings))
    for name, folder in folders.items():
        out = tmp_path / f"{name}.ours"
        samples.imported(out, encoder=str(folder), wishes=Wishes(features=-1))
        found = samples.stored(out)
        assert found.keys() == ours.keys()
        for path in ours:
            np.testing.assert_array_equal(found[path], ours[path])
    one, other = (
        config.read_model(str(tmp_path / f"{name}.ours")).vit for name in folders
    )
    assert one.mean == (0.4, 0.5, 0.6)
    assert family.differences("vit", one, other, "clip's") == [
        "vit.mean=(0.4, 0.5, 0.6): clip's is (0.48145466, 0.4578275, 0.40821073)",
        "vit.std=(0.1, 0.2, 0.3): clip's is (0.26862954, 0.26130258, 0.27577711)",
    ]


def test_what_is_not_a_plain_vit_is_refused():
    for key, value in (("timm_model_name", "x"), ("attentional_pool", True)):
        model = json.loads(json.dumps(SETTINGS))
        model["model_cfg"]["vision_cfg"][key] = value
        with pytest.raises(ValueError, match=rf"vision_cfg.{key}=.*: not supported"):
            family.read(encoders.OPEN_CLIP, model, "there")
    with pytest.raises(ValueError, match="must describe a ViT"):
        family.read(
            encoders.OPEN_CLIP, {"model_cfg": {"vision_cfg": {"layers": [3]}}}, "there"
        )
