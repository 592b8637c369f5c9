"""Trip counts: of every way in which a loop counts."""

import textwrap

import pytest

from mmjax import hlo
from mmjax.estimate import loops


def trips(condition, body, start="0", attributes="", more=""):
    """The trip count of a loop on (counter, other)."""
    text = f"""
    {more}
    %cond (p: (s32[], f32[])) -> pred[] {{
      %p = (s32[], f32[]) parameter(0)
      %i = s32[] get-tuple-element(%p), index=0
      {condition}
    }}
    %body (p: (s32[], f32[])) -> (s32[], f32[]) {{
      %p = (s32[], f32[]) parameter(0)
      %i = s32[] get-tuple-element(%p), index=0
      %x = f32[] get-tuple-element(%p), index=1
      {body}
      ROOT %out = (s32[], f32[]) tuple(%next, %x)
    }}
    ENTRY %main (x: f32[]) -> f32[] {{
      %x = f32[] parameter(0)
      %first = s32[] constant({start})
      %held = s32[] copy(%first)
      %start = (s32[], f32[]) tuple(%held, %x)
      %loop = (s32[], f32[]) while(%start), condition=%cond, body=%body{attributes}
      ROOT %r = f32[] get-tuple-element(%loop), index=1
    }}
    """
    lines = [line.strip() for line in textwrap.dedent(text).splitlines()]
    inside = ("%", "ROOT ")
    lines = [
        f"  {line}" if line.startswith(inside) and " = " in line else line
        for line in lines
    ]
    module = hlo.parse(f"{line}\n" for line in lines)
    around = module.computations[module.entry]
    return loops.trips(module, around.by_name["loop"], around)


def compared(direction, limit, turned=False):
    sides = "%n, %i" if turned else "%i, %n"
    return (
        f"%n = s32[] constant({limit})\n"
        f"ROOT %c = pred[] compare({sides}), direction={direction}"
    )


def stepped(by, operation="add"):
    return f"%one = s32[] constant({by})\n%next = s32[] {operation}(%i, %one)"


@pytest.mark.parametrize(
    ("direction", "start", "limit", "step"),
    [
        ("LT", 0, 7, 1), ("LT", 2, 9, 3), ("LE", 0, 6, 1), ("LT", 5, 5, 1),
        ("GT", 6, 0, -1), ("GE", 6, 0, -2), ("NE", 0, 8, 2), ("NE", 8, 0, -1),
    ],
)  # fmt: skip
def test_a_derived_count_is_that_of_the_loop_when_it_runs(
    direction, start, limit, step
):
    passes = {
        "LT": lambda i: i < limit, "LE": lambda i: i <= limit,
        "GT": lambda i: i > limit, "GE": lambda i: i >= limit,
        "NE": lambda i: i != limit,
    }[direction]  # fmt: skip
    place, count = start, 0
    while passes(place):
        place, count = place + step, count + 1
    found = trips(compared(direction, limit), stepped(step), str(start))
    assert found == (count, False)


def test_the_limit_may_stand_on_the_left():
    assert trips(compared("GT", 7, turned=True), stepped(1)) == (7, False)


def test_a_counter_may_be_subtracted_from():
    assert trips(compared("GT", 0), stepped(2, "subtract"), "9") == (5, False)


def test_comparison_and_step_may_be_fused():
    more = """
    %less (a: s32[], b: s32[]) -> pred[] {
      %a = s32[] parameter(0)
      %b = s32[] parameter(1)
      ROOT %c = pred[] compare(%b, %a), direction=LT
    }
    %more (a: s32[]) -> s32[] {
      %a = s32[] parameter(0)
      %two = s32[] constant(2)
      ROOT %s = s32[] add(%a, %two)
    }
    """
    condition = """%n = s32[] constant(10)
      ROOT %c = pred[] fusion(%n, %i), kind=kLoop, calls=%less"""
    body = "%next = s32[] fusion(%i), kind=kLoop, calls=%more"
    assert trips(condition, body, more=more) == (5, False)


def test_what_the_compiler_wrote_comes_first():
    known = ', backend_config={"known_trip_count":{"n":"12"}}'
    assert trips(compared("LT", 7), stepped(1), attributes=known) == (12, False)


def test_a_step_that_depends_on_data_makes_a_guess_that_says_so():
    body = "%y = s32[] convert(%x)\n%next = s32[] add(%i, %y)"
    assert trips(compared("LT", 7), body) == (7, True)
