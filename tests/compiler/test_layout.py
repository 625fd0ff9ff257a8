"""The layout algebra against NumPy, on random shapes, orders and views."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_nhwc.passes.algebra import layout as module
from onnx_nhwc.passes.algebra.layout import (
    ONE,
    Dim,
    Mode,
    Reshape,
    Stored,
    Transpose,
    after_transpose,
    before_transpose,
    canonical,
    chain,
    factors,
    identity,
    invert,
    permuted,
    strides,
)


def dims(shape):
    return tuple(Dim(size) for size in shape)


def store(x, order, shape):
    """What an order means: element by element, from the row-major index."""
    flat = np.asarray(x).reshape(-1)
    index = np.zeros((), dtype=np.int64)
    for size, stride in order:
        index = index[..., None] + np.arange(size.number) * stride.number
    return flat[index.reshape(-1)].reshape(shape)


def run(steps, x):
    for step in steps:
        if isinstance(step, Reshape):
            x = x.reshape([d.number for d in step.shape])
        else:
            x = np.transpose(x, step.perm)
    return x


shapes = st.lists(st.sampled_from([1, 2, 3, 4, 5, 6]), min_size=1, max_size=5).map(tuple)


@st.composite
def permuted_shapes(draw):
    shape = draw(shapes)
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def orders(draw, total):
    """A random order: a random factorisation of the size, its factors in random order."""
    sizes, rest = [], total
    while rest > 1:
        size = draw(st.sampled_from([d for d in range(2, rest + 1) if rest % d == 0]))
        sizes.append(size)
        rest //= size
    modes = [Mode(Dim(s), t) for s, t in zip(sizes, strides(dims(sizes)), strict=True)]
    return canonical(draw(st.permutations(modes)))


@st.composite
def regrouped(draw, total):
    """A random shape of the same number of elements, unit axes among them."""
    shape = []
    while total > 1:
        size = draw(st.sampled_from([d for d in range(2, total + 1) if total % d == 0]))
        shape.append(size)
        total //= size
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return tuple(shape)


@given(permuted_shapes())
def test_permuted_is_numpys_transpose(case):
    shape, perm = case
    x = np.arange(math.prod(shape)).reshape(shape)
    wanted = np.transpose(x, perm)
    assert np.array_equal(store(x, permuted(dims(shape), perm), wanted.shape), wanted)


@given(permuted_shapes())
def test_canonical_forms_are_equal_iff_the_elements_are(case):
    shape, perm = case
    x = np.arange(math.prod(shape)).reshape(shape)
    same = np.array_equal(np.transpose(x, perm).reshape(-1), x.reshape(-1))
    assert (permuted(dims(shape), perm) == identity(dims(shape))) == same


@given(permuted_shapes(), st.data())
def test_orders_pass_through_a_transpose_and_back(case, data):
    shape, perm = case
    x = np.arange(math.prod(shape)).reshape(shape)
    y = np.transpose(x, perm)
    order = data.draw(orders(y.size))
    before = before_transpose(order, dims(shape), perm)
    if before is None:
        assert factors(order, dims(y.shape)) is None
        return
    assert np.array_equal(store(x, before, (-1,)), store(y, order, (-1,)))
    assert after_transpose(before, dims(shape), perm) == order


@given(permuted_shapes(), st.data())
@settings(max_examples=300)
def test_a_chain_leads_from_one_storage_to_the_other(case, data):
    shape, perm = case
    total = math.prod(shape)
    x = np.arange(total).reshape(shape)
    source = Stored(permuted(dims(shape), perm), dims(shape[a] for a in perm))
    target_order = data.draw(st.one_of(orders(total), st.just(identity(dims(shape)))))
    target_shape = data.draw(regrouped(total))
    steps = chain(source, Stored(target_order, dims(target_shape)))
    assert steps is not None
    got = run(steps, np.transpose(x, perm))
    assert np.array_equal(got, store(x, target_order, target_shape))
    moves = [s for s in steps if isinstance(s, Transpose)]
    assert bool(moves) == (source.order != target_order)
    assert all(s.perm != tuple(range(len(s.perm))) for s in moves)
    assert len(moves) == 2 or len(steps) <= 3


def test_symbolic_sizes_follow_the_same_algebra_as_numbers():
    n, c, h, w = (Dim(1, (s,)) for s in "nchw")
    first = (n, c, h, w)
    flat = (n, h * w * c)
    last = permuted(first, (0, 2, 3, 1))
    assert chain(Stored(last, (n, h, w, c)), Stored(last, flat)) == [Reshape(flat)]
    tokens = (n, h * w, c)
    assert chain(Stored(identity(first), first), Stored(last, tokens)) == [
        Transpose((0, 2, 3, 1)),
        Reshape(tokens),
    ]


def test_equal_sizes_are_never_confused():
    eight = dims((8, 8, 8, 8))
    seen = {permuted(eight, perm) for perm in itertools.permutations(range(4))}
    assert len(seen) == 24


def test_incompatible_factorisations_are_refused_not_guessed():
    order = permuted(dims((6, 4)), (1, 0))
    assert factors(order, dims((8, 3))) is None
    source = Stored(order, dims((4, 6)))
    target = Stored(permuted(dims((8, 3)), (1, 0)), dims((3, 8)))
    steps = chain(source, target)
    assert steps is not None
    assert [type(step) for step in steps].count(Transpose) == 2
    assert factors(identity(dims((6, 4))), dims((8, 3))) is not None


def test_division_is_exact_or_refused():
    assert Dim(6, ("h",)).over(Dim(4)) is None
    assert Dim(6).over(Dim(1, ("h",))) is None
    assert Dim(6, ("h", "h")).over(Dim(2, ("h",))) == Dim(3, ("h",))
    assert Dim(6, ("h",)).over(Dim(6, ("h",))) == ONE


@given(st.permutations(range(5)))
def test_invert(perm):
    assert [perm[i] for i in invert(perm)] == list(range(5))


def test_examples_in_the_docstrings():
    assert doctest.testmod(module).failed == 0
