"""The parser: what stands in a dump is what comes out."""

import pytest

from mmjax import hlo
from mmjax.hlo import Shape

TEXT = """HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inner.1 (p: bf16[8,128]) -> bf16[8,128] {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %t = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} negate(%p)
}, execution_thread="sparsecore"

ENTRY %main (x: bf16[8,128]) -> (f32[2], s32[]) {
  %x = bf16[8,128]{1,0} parameter(0)
  %c = s32[] constant(-7)
  %many = (f32[2]{0}, /*index=1*/s32[], u32[]{:S(2)}) custom-call(%x, %c),
    custom_call_target="Sort", called_computations={%add, %inner.1}
  %f = bf16[8,128]{1,0} fusion(%x), kind=kLoop, calls=%inner.1,
    metadata={op_name="jit(step)/a/mul"},
    backend_config={"estimated_cycles":"1234","note":"a } in { text ("}
  %g = bf16[8,128]{1,0} fusion(%x), kind=kLoop, calls=%inner.1, backend_config={"estimated_cycles":"9223372036854775807"}
  ROOT %r = (f32[2]{0}, s32[]) tuple(%many, %c)
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def module():
    return hlo.parse(TEXT.splitlines(keepends=True))


def by_name(module, name):
    return module.computations[module.entry].by_name[name]


def test_computations_and_their_instructions_come_in_order(module):
    assert list(module.computations) == ["add", "inner.1", "main"]
    assert module.entry == "main"
    names = [i.name for i in module.computations["main"].instructions]
    assert names == ["x", "c", "many", "f", "g", "r"]
    roots = [i.name for i in module.computations["main"].instructions if i.is_root]
    assert roots == ["r"]


def test_types_become_arrays_with_their_memory_space(module):
    assert by_name(module, "x").shapes == (Shape("bf16", (8, 128), 0),)
    assert by_name(module, "many").shapes == (
        Shape("f32", (2,), 0),
        Shape("s32", (), 0),
        Shape("u32", (), 2),
    )
    inner = module.computations["inner.1"].by_name["t"]
    assert inner.shapes[0].space == 1


def test_bytes_count_one_memory_space_or_all():
    arrays = hlo.shapes("(bf16[3,5]{1,0}, f32[7]{0:S(1)}, pred[], s4[6]{0})")
    assert hlo.size(arrays) == 3 * 5 * 2 + 7 * 4 + 1 + 6 / 2
    assert hlo.size(arrays, 1) == 7 * 4


def test_operands_attributes_and_calls_are_found_across_lines(module):
    many = by_name(module, "many")
    assert many.operands == ("x", "c")
    assert hlo.called(module, many) == ["add", "inner.1"]
    assert hlo.called(module, by_name(module, "f")) == ["inner.1"]
    assert hlo.scope(by_name(module, "f")) == "jit(step)/a/mul"
    assert hlo.scope(many) == ""
    assert by_name(module, "c").operands == ("-7",)


def test_the_largest_integer_is_no_estimate(module):
    assert hlo.cycles(by_name(module, "f")) == 1234
    assert hlo.cycles(by_name(module, "g")) is None
    assert hlo.cycles(by_name(module, "many")) is None


def test_a_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.parse(["HloModule other\n"])
