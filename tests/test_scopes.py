"""Names of parts in what is compiled of a step, which profiles and estimates read."""

import dataclasses
import re

import pytest
import synthetic
from short_form import slow_unless

from mmjax import config, hlo, scopes

pytestmark = pytest.mark.usefixtures("quick_compilation")


def made(**fields):
    """The tiny config with other parts: `made(vit={...}, decoder={...})`."""
    base = synthetic.config()
    for name, changes in fields.items():
        part = dataclasses.replace(getattr(base.model, name), **changes)
        setattr(base.model, name, part)
    return base


def operations(compiled):
    """Opcode and path of each operation of a compiled step."""
    module = hlo.parse(compiled.as_text().splitlines())
    return [
        (each.opcode, hlo.scope(each))
        for computation in module.computations.values()
        for each in computation.instructions
    ]


def holds(path, names):
    """Whether a path has these names, in this order."""
    parts = iter(re.split(r"[/.()]+", path))
    return all(name in parts for name in names)


MAIN = [
    ("vit", "patch_embed"),
    ("vit", "blocks", "attention"),
    ("vit", "blocks", "mlp"),
    ("connector",),
    ("splice",),
    ("decoder", "blocks", "attention"),
    ("decoder", "blocks", "mlp"),
    ("decoder", "norm"),
    ("loss",),
]


@pytest.fixture(scope="module")
def compiled():
    return operations(synthetic.run().train_step)


@pytest.mark.parametrize("names", MAIN, ids="/".join)
def test_parts_are_named_in_the_compiled_step_forward_and_backward(compiled, names):
    paths = [path for _, path in compiled if holds(path, names)]
    assert any("transpose(" in path for path in paths)
    assert any("transpose(" not in path and "jvp(" in path for path in paths)


def test_the_update_is_named_and_every_product_belongs_to_a_part(compiled):
    outside = {path for _, path in compiled if holds(path, ["optimizer"])}
    assert outside
    assert not any("jvp(" in path for path in outside)
    products = {path for opcode, path in compiled if opcode == "dot"}
    parts = ("vit", "connector", "decoder", "loss")
    assert products
    assert {p for p in products if not any(holds(p, [part]) for part in parts)} == set()


EXPERTS = config.Moe(experts=2, every=2)
STACKS = {
    "layers that alternate": (
        made(decoder={"layers": 3, "moe": EXPERTS}),
        [
            ("decoder", "blocks", "layer0", "mlp"),
            ("decoder", "blocks", "layer1", "moe"),
            ("decoder", "rest", "layer0", "attention"),
        ],
    ),
    "images outside the rows": (
        made(decoder={"cross_attention": config.CrossAttention(every=2)}),
        [("decoder", "blocks", "cross", "attention")],
    ),
    "two encoders": (
        made(second_vit={**vars(synthetic.config().model.vit), "enabled": True}),
        [("vit", "blocks", "mlp"), ("second_vit", "blocks", "mlp")],
    ),
    "CLIP": (
        made(objective={"kind": "contrastive"}),
        [("Towers", "vit", "blocks"), ("Towers", "decoder"), ("contrast",), ("loss",)],
    ),
    "AIM": (
        made(objective={"kind": "aim"}),
        [("Aim", "vit", "blocks"), ("aim",), ("loss",)],
    ),
}


@pytest.mark.parametrize("name", slow_unless(STACKS, ["AIM"]))
def test_every_stack_is_named(name):
    config, expected = STACKS[name]
    paths = {path for _, path in operations(synthetic.lower(config).compile())}
    missing = [names for names in expected if not any(holds(p, names) for p in paths)]
    assert missing == []


def test_a_short_path_leaves_out_jaxs_own_names():
    path = (
        "jit(train_step)/transpose(jvp(VLM))/decoder/while/body/closed_call/checkpoint/"
        "blocks/mlp/up/dot_general"
    )
    assert scopes.short(path) == "backward: decoder/blocks/mlp/up/dot_general"
    path = "jit(train_step)/while/body/closed_call/jvp(loss)/while/body/exp"
    assert scopes.short(path) == "forward: loss/exp"
    assert scopes.short("jit(train_step)/optimizer/sqrt") == "update: optimizer/sqrt"
