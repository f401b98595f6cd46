"""Whether clients of a stable version can go on with a candidate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.adapters.validation.signatures import (
    Shape,
    Signature,
    TensorSpec,
    incompatibilities,
    missing_signatures,
)
from airflow_model_ops.core.errors import InvalidState

DTYPES = ("DT_FLOAT", "DT_INT64", "DT_STRING")


def tensor(name: str, shape: Shape = (None, 4), *, dtype: str = "DT_FLOAT") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


STABLE = Signature(inputs=(tensor("images"),), outputs=(tensor("scores", (None, 10)),))

sizes = st.none() | st.integers(1, 3)
shapes = st.none() | st.lists(sizes, max_size=2).map(tuple)
specs = st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(DTYPES[:2]), shapes), min_size=1, max_size=2)
tensors = specs.map(lambda found: tuple(TensorSpec(name=n, dtype=d, shape=s) for n, (d, s) in sorted(found.items())))
signatures = st.builds(Signature, inputs=tensors, outputs=tensors)


@st.composite
def successors(draw: st.DrawFn, signature: Signature) -> Signature:
    """A signature that grew out of another by small steps, so that compatible pairs are not rare."""
    wider = tuple(replace(t, shape=draw(st.sampled_from((t.shape, _loose(t.shape))))) for t in signature.inputs)
    narrower = tuple(replace(t, shape=draw(st.sampled_from((t.shape, _tight(t.shape))))) for t in signature.outputs)
    return Signature(inputs=wider, outputs=narrower)


def _loose(shape: Shape) -> Shape:
    return None if shape is None else tuple(None for _ in shape)


def _tight(shape: Shape) -> Shape:
    return (1, 2) if shape is None else tuple(2 if size is None else size for size in shape)


@given(signatures)
def test_every_signature_is_compatible_with_itself(signature: Signature) -> None:
    assert incompatibilities(candidate=signature, stable=signature) == []


@given(st.data(), signatures)
def test_wider_inputs_and_narrower_outputs_never_break_a_client(data: st.DataObject, stable: Signature) -> None:
    assert incompatibilities(candidate=data.draw(successors(stable)), stable=stable) == []


@given(st.data(), signatures)
def test_compatibility_carries_over_a_chain_of_releases(data: st.DataObject, first: Signature) -> None:
    second = data.draw(successors(first) | signatures)
    third = data.draw(successors(second) | signatures)
    if not incompatibilities(candidate=second, stable=first) and not incompatibilities(candidate=third, stable=second):
        assert incompatibilities(candidate=third, stable=first) == []


@given(signatures, signatures)
def test_two_signatures_that_replace_each_other_either_way_differ_in_nothing(one: Signature, other: Signature) -> None:
    if not incompatibilities(candidate=one, stable=other) and not incompatibilities(candidate=other, stable=one):
        assert one == other


@given(signatures)
def test_a_signature_survives_its_json(signature: Signature) -> None:
    assert Signature.from_json(signature.to_json()) == signature


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ((tensor("pixels"),), "input 'images' is gone"),
        ((tensor("images"), tensor("mask")), "input 'mask' is new"),
        ((tensor("images", dtype="DT_INT64"),), "input 'images' takes DT_INT64 [?, 4], where stable takes DT_FLOAT"),
        ((tensor("images", (1, 4)),), "input 'images' takes DT_FLOAT [1, 4], where stable takes DT_FLOAT [?, 4]"),
        ((tensor("images", (None, 2, 2)),), "DT_FLOAT [?, 2, 2]"),
    ],
)
def test_an_input_that_refuses_a_request_of_before_is_named(inputs: tuple[TensorSpec, ...], fault: str) -> None:
    found = incompatibilities(candidate=replace(STABLE, inputs=inputs), stable=STABLE)

    assert any(fault in words for words in found), found


@pytest.mark.parametrize(
    ("outputs", "fault"),
    [
        ((tensor("logits", (None, 10)),), "output 'scores' is gone"),
        ((tensor("scores", (None, 10), dtype="DT_INT64"),), "output 'scores' gives DT_INT64 [?, 10]"),
        (
            (tensor("scores", (None, 11)),),
            "output 'scores' gives DT_FLOAT [?, 11], where stable gives DT_FLOAT [?, 10]",
        ),
        ((tensor("scores", None),), "output 'scores' gives DT_FLOAT of any shape"),
        ((tensor("scores", (None, 10)), tensor("label", (None,))), "output 'label' is added to a single output"),
    ],
)
def test_an_answer_that_clients_do_not_expect_is_named(outputs: tuple[TensorSpec, ...], fault: str) -> None:
    found = incompatibilities(candidate=replace(STABLE, outputs=outputs), stable=STABLE)

    assert any(fault in words for words in found), found


def test_an_output_may_join_several_others() -> None:
    two = replace(STABLE, outputs=(tensor("scores"), tensor("label", (None,))))
    three = replace(two, outputs=(*two.outputs, tensor("margin", (None,))))

    assert incompatibilities(candidate=three, stable=two) == []


def test_every_incompatibility_is_told_at_once() -> None:
    other = Signature(inputs=(tensor("x"),), outputs=(tensor("y"),))

    found = incompatibilities(candidate=other, stable=STABLE)

    assert len(found) == 4, found


def test_a_signature_that_is_gone_is_missed_and_an_additional_one_is_welcome() -> None:
    assert missing_signatures(candidate=["serving_default", "new"], stable=["serving_default", "embed"]) == ["embed"]


def test_two_inputs_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidState, match="two inputs of one name"):
        Signature(inputs=(tensor("x"), tensor("x")), outputs=())
