"""Domains and the space: exact ends, units and back, sizes with conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune.experiment.space.conditions import Conditions, key
from hptune.experiment.space.space import ChoiceDomain, Domain, FloatDomain, IntDomain, Space, point_key, unreached

UNIT = st.floats(0, 1)


@st.composite
def float_domains(draw: st.DrawFn) -> FloatDomain:
    log: Any = draw(st.sampled_from([False, True, "reverse"]))
    low = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e3, 1e3))
    high = low + draw(st.floats(0, 1e3))
    stepped = not log and draw(st.booleans())
    step = (high - low) / draw(st.integers(1, 50)) if stepped and high > low else None
    return FloatDomain(type="float", min=low, max=high, log=log, step=step or None)


@st.composite
def int_domains(draw: st.DrawFn) -> IntDomain:
    log: Any = draw(st.sampled_from([False, True, "reverse"]))
    low = draw(st.integers(1, 1000) if log else st.integers(-1000, 1000))
    step = None if log else draw(st.none() | st.integers(1, 20))
    return IntDomain(type="int", min=low, max=low + draw(st.integers(0, 1000)), log=log, step=step)


VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3)


def choice_domains() -> st.SearchStrategy[ChoiceDomain]:
    values = st.lists(VALUES, min_size=1, max_size=6, unique_by=lambda v: (type(v).__name__, v))
    return values.map(lambda v: ChoiceDomain.model_validate({"type": "choice", "values": v}))


DOMAINS = float_domains() | int_domains() | choice_domains()


@given(DOMAINS, UNIT)
def test_every_unit_gives_a_member(domain: Domain, u: float) -> None:
    value = domain.from_unit(u)
    assert domain.contains(value)
    assert 0 <= domain.to_unit(value) <= 1


@given(DOMAINS, UNIT)
def test_a_value_goes_to_its_unit_and_back(domain: Domain, u: float) -> None:
    value = domain.from_unit(u)
    again = domain.from_unit(domain.to_unit(value))
    if domain.values() is None:
        assert again == pytest.approx(value, rel=1e-9, abs=1e-9)
    else:
        assert key(again) == key(value)


@given(DOMAINS)
def test_the_ends_are_reached_and_the_default_is_a_member(domain: Domain) -> None:
    assert domain.contains(domain.default_value())
    values = domain.values()
    first, last = (domain.from_unit(0.0), domain.from_unit(1.0))
    if values is not None:
        assert (key(first), key(last)) == (key(values[0]), key(values[-1]))
    else:
        assert isinstance(domain, FloatDomain)
        assert first == pytest.approx(domain.min)
        assert last == pytest.approx(domain.max)


@given(DOMAINS)
def test_every_value_is_met_by_some_unit(domain: Domain) -> None:
    values = domain.values()
    if values is not None:
        assert all(key(domain.from_unit(domain.to_unit(v))) == key(v) for v in values)


def test_stepped_floats_end_exactly() -> None:
    tenths = FloatDomain(type="float", min=0.0, max=1.0, step=0.1)
    assert list(tenths.values() or ()) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert list(FloatDomain(type="float", min=0.1, max=0.35, step=0.1).values() or ()) == [0.1, 0.2, 0.3]
    assert tenths.contains(0.1 + 0.2)
    assert not tenths.contains(0.15)
    assert not tenths.contains(float("nan"))
    assert not tenths.contains(1.1)


def test_members() -> None:
    wide = IntDomain(type="int", min=0, max=1_000_000, step=2)
    assert wide.contains(64.0)
    assert not wide.contains(63)
    assert not wide.contains(0.5)
    assert not wide.contains(True)
    flags = ChoiceDomain.model_validate({"type": "choice", "values": [True, None, 1.0]})
    assert [flags.contains(v) for v in (True, 1, 1.0, None, False)] == [True, False, True, True, False]
    assert ChoiceDomain.model_validate({"type": "choice", "values": [1, None], "default": None}).default_value() is None
    assert ChoiceDomain.model_validate({"type": "choice", "values": [3, None]}).default_value() == 3


def test_the_default_is_the_middle_geometric_on_a_log_scale() -> None:
    assert FloatDomain(type="float", min=1e-4, max=1e-2, log=True).default_value() == pytest.approx(1e-3)
    assert FloatDomain(type="float", min=0.0, max=0.5).default_value() == 0.25
    assert IntDomain(type="int", min=1, max=3).default_value() == 2


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [(1, 100, 10), (1, 1000, 32), (16, 1024, 128), (2, 3, 2), (7, 7, 7), (1, 2**53, 94906266)],
)
def test_the_default_of_a_log_integer_is_the_geometric_mean(low: int, high: int, middle: int) -> None:
    """√(1·1000) = 31.6, √6 = 2.4, √(2^53) = 94906265.6; the scale of the draws ends half a unit beyond the range."""
    assert IntDomain(type="int", min=low, max=high, log=True).default_value() == middle
    assert IntDomain(type="int", min=low, max=high, log="reverse").default_value() == low + high - middle
    assert IntDomain(type="int", min=low, max=high, log=True, default=low).default_value() == low


def test_other_ranges_have_the_middle_of_their_scale() -> None:
    assert FloatDomain(type="float", min=1.0, max=100.0, log=True).default_value() == pytest.approx(10)
    assert FloatDomain(type="float", min=1.0, max=100.0, log="reverse").default_value() == pytest.approx(91)
    assert FloatDomain(type="float", min=0.0, max=1.0, step=0.25).default_value() == 0.5
    assert IntDomain(type="int", min=0, max=100, step=25).default_value() == 50


TENTHS = FloatDomain(type="float", min=0.0, max=1.0, step=0.1)


@pytest.mark.parametrize(
    ("domain", "given", "own"),
    [
        (TENTHS, 0.1 + 0.2, 0.3),
        (TENTHS, 0.7999999999999999, 0.8),
        (TENTHS, 1, 1.0),
        (FloatDomain(type="float", min=0.0, max=5.0), 3, 3.0),
        (FloatDomain(type="float", min=0.3, max=0.3), 0.1 + 0.2, 0.3),
        (IntDomain(type="int", min=0, max=2**40), 64.0, 64),
        (ChoiceDomain.model_validate({"type": "choice", "values": [16, 32]}), 16.0, 16),
        (ChoiceDomain.model_validate({"type": "choice", "values": [True, 1, 1.0]}), 1.0, 1.0),
    ],
)
def test_a_value_has_one_form(domain: Domain, given: Any, own: Any) -> None:
    assert key(domain.own(given)) == key(own)
    assert key(Space({"x": domain}).own({"x": given})["x"]) == key(own)
    if domain.contains(given):
        assert key(domain.model_copy(update={"default": given}).default_value()) == key(own)
        assert key(Space({"x": domain}).complete({"x": given})["x"]) == key(own)


@pytest.mark.parametrize(
    ("domain", "given"),
    [
        (TENTHS, 0.3001),
        (TENTHS, True),
        (TENTHS, 1.1),
        (TENTHS, 10**400),
        (TENTHS, 1.7e308),
        (FloatDomain(type="float", min=1e9, max=1e9 + 2, step=0.5), 1e9 + 0.3),
        (IntDomain(type="int", min=0, max=9), 3.5),
        (IntDomain(type="int", min=0, max=9), float("inf")),
        (ChoiceDomain.model_validate({"type": "choice", "values": [1, 1.0]}), True),
    ],
)
def test_what_is_no_member_has_no_form(domain: Domain, given: Any) -> None:
    assert not domain.contains(given)
    with pytest.raises(ValueError, match="must be one of"):
        domain.own(given)


def test_a_range_holds_no_more_numbers_than_can_be_drawn() -> None:
    """A drawn float has 53 bits: of twice as many numbers every other one would never come."""
    widest = IntDomain(type="int", min=0, max=2**53 - 1)
    assert {widest.from_unit(bits / 2**53) % 2 for bits in (1, 2, 2**53 - 1, 2**53 - 2)} == {0, 1}
    with pytest.raises(ValueError, match=r"holds more than 2\*\*53 numbers"):
        IntDomain(type="int", min=-(2**53), max=2**53)


def test_a_text_among_the_values_is_told_from_a_number_like_it() -> None:
    domain = ChoiceDomain.model_validate({"type": "choice", "values": [1, "1", True, "relu"]})
    with pytest.raises(ValueError, match=r'must be one of 1, "1", True, relu, got 1\.5'):
        domain.own(1.5)


def test_a_space_says_why_values_are_no_point_of_it() -> None:
    space = Space({"p": TENTHS, "n": IntDomain(type="int", min=1, max=2, when={"p": [0.1 + 0.2]})})
    assert space.own({"n": 2.0, "p": 0.1 + 0.2}) == {"p": 0.3, "n": 2}
    for values, why in [
        ({"p": 0.3}, "n has no value"),
        ({"p": 0.35}, "p is not one of 0.0 to 1.0 by 0.1"),
        ({"p": 0.4, "n": 1}, "n is not active"),
        ({"p": 0.4, "m": 1}, "m is no parameter"),
    ]:
        assert not space.contains(values)
        with pytest.raises(ValueError, match=f"^{why}$"):
            space.own(values)


def test_a_condition_within_the_last_bits_of_a_step_is_met() -> None:
    """0.1 + 0.2 is .30000000000000004, which no value of the parent is to the bit."""
    space = Space({"p": TENTHS, "n": IntDomain(type="int", min=1, max=2, when={"p": 0.1 + 0.2})})
    assert [point for point in space.points() if "n" in point] == [{"p": 0.3, "n": 1}, {"p": 0.3, "n": 2}]
    assert space.size == 12


def test_steps_that_end_at_max_but_for_their_last_bits_reach_it() -> None:
    assert FloatDomain(type="float", min=0.0, max=0.9, step=0.1 + 0.2).values()[-1] == 0.9  # type: ignore[index]
    thirds = FloatDomain(type="float", min=0.0, max=1.0, step=0.3333333333333333)
    assert len(thirds.values() or ()) == 4
    assert (thirds.greatest, unreached(thirds)) == (1.0, None)


def test_what_the_steps_reach_is_told() -> None:
    short = FloatDomain(type="float", min=0.1, max=0.35, step=0.1)
    assert (short.greatest, IntDomain(type="int", min=16, max=100, step=32).greatest) == (0.3, 80)
    assert "end at 0.3. Make it 0.3" in str(unreached(short))
    assert unreached(IntDomain(type="int", min=16, max=112, step=32)) is None
    assert unreached(FloatDomain(type="float", min=0.0, max=1.0)) is None


# --- the space ------------------------------------------------------------------------------------------------------


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """A few small domains, each with conditions on the ones before it."""
    domains: dict[str, Any] = {}
    for i in range(draw(st.integers(1, 5))):
        when = {}
        for parent in draw(st.lists(st.sampled_from(sorted(domains)), max_size=2, unique=True)) if domains else []:
            values = list(domains[parent].values())
            when[parent] = draw(
                st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique_by=key)
                | st.sampled_from(values)
            )
        if draw(st.booleans()):
            low = draw(st.integers(0, 3))
            domains[f"p{i}"] = IntDomain(type="int", min=low, max=low + draw(st.integers(0, 3)), when=when)
        else:
            values = draw(st.lists(VALUES, min_size=1, max_size=3, unique_by=key))
            domains[f"p{i}"] = ChoiceDomain.model_validate({"type": "choice", "values": values, "when": when})
    return Space(domains)


@given(spaces())
def test_the_points_are_as_many_as_the_size_and_distinct(space: Space) -> None:
    points = list(space.points())
    assert space.size == len(points)
    assert len({point_key(point) for point in points}) == len(points)
    assert all(space.contains(point) for point in points)


@given(spaces())
def test_conditions_agree_with_the_points(space: Space) -> None:
    """What `Conditions` works out over sets is what the points themselves show."""
    conditions = Conditions(space.domains)
    points = list(space.points())
    for name in space.domains:
        possible = conditions.together(name, {})
        assert possible == any(name in point for point in points)
        if possible:
            assert conditions.always(name) == all(name in point for point in points)
        for other, domain in space.domains.items():
            for value in domain.values() or ():
                meet = any(name in p and other in p and key(p[other]) == key(value) for p in points)
                assert conditions.together(name, {other: frozenset([key(value)])}) == meet


@given(spaces(), st.data())
def test_complete_keeps_what_is_given_and_drops_the_inactive(space: Space, data: st.DataObject) -> None:
    point = data.draw(st.sampled_from(list(space.points())))
    assert space.complete(point) == point
    assert space.contains(space.complete({}))
    assert space.complete({}) == space.defaults()


def test_the_size_of_a_large_space_is_counted_and_not_listed() -> None:
    domains: dict[str, Any] = {
        "n": IntDomain(type="int", min=1, max=10**9),
        "m": IntDomain(type="int", min=1, max=10, when={"n": [1, 2]}),
        "k": ChoiceDomain.model_validate({"type": "choice", "values": ["a", "b"]}),
    }
    assert Space(domains).size == (2 * 10 + 10**9 - 2) * 2
    assert Space({"x": FloatDomain(type="float", min=0.0, max=1.0)}).size is None


def test_parents_come_before_their_children() -> None:
    domains: dict[str, Any] = {
        "child": IntDomain(type="int", min=1, max=2, when={"parent": 1}),
        "parent": IntDomain(type="int", min=1, max=2),
    }
    assert list(Space(domains).domains) == ["parent", "child"]
    assert list(Space(domains).points()) == [{"parent": 1, "child": 1}, {"parent": 1, "child": 2}, {"parent": 2}]


def test_children_of_different_values_are_never_together() -> None:
    domains: dict[str, Any] = {
        "p": ChoiceDomain.model_validate({"type": "choice", "values": ["a", "b"]}),
        "x": IntDomain(type="int", min=1, max=2, when={"p": "a"}),
        "y": IntDomain(type="int", min=1, max=2, when={"p": "b"}),
    }
    conditions = Conditions(domains)
    assert not conditions.together("x", {"y": frozenset([key(1)])})
    assert conditions.together("x", {"p": frozenset([key("a")])})
