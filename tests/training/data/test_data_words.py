"""Free text: held against keras.layers.TextVectorization, whose numbers it must give without TensorFlow."""

from typing import Any

import numpy as np
import pytest

from hptune.spec.data import TextColumn
from hptune.training.data.words import Vocabulary, learn_words

TRAINING = [
    "The cat sat on the mat.",
    "The dog -- THE dog! -- barked\tat the cat\n",
    "don't  worry, it's    fine",
    "Éclair and éclair, NAÏVE naïve",
    "",
    "cat cat cat",
]
OTHERS = [*TRAINING, "a new word for the cat", "!!!", "non\u00a0breaking space"]


def layer(vocabulary: Vocabulary) -> Any:
    import keras

    idf = {"idf_weights": list(vocabulary.idf)} if vocabulary.output_mode == "tf_idf" else {}
    return keras.layers.TextVectorization(
        vocabulary=list(vocabulary.words),
        output_mode=vocabulary.output_mode,
        output_sequence_length=vocabulary.length,
        **idf,
    )


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf", "int"])
@pytest.mark.parametrize("most", [3, 1000])
def test_the_numbers_are_the_layers(mode: Any, most: int) -> None:
    length = 5 if mode == "int" else None
    vocabulary = learn_words(TRAINING, TextColumn(kind="text", max_tokens=most, output_mode=mode, length=length))
    ours = vocabulary(OTHERS)
    assert (ours.shape, ours.dtype) == ((len(OTHERS), vocabulary.width), np.float32)
    assert np.allclose(ours, np.asarray(layer(vocabulary)(np.array(OTHERS))), atol=1e-6)


@pytest.mark.parametrize("mode", ["multi_hot", "tf_idf"])
def test_the_vocabulary_is_what_the_layer_would_adapt_to(mode: Any) -> None:
    import keras

    vocabulary = learn_words(TRAINING, TextColumn(kind="text", output_mode=mode))
    adapted = keras.layers.TextVectorization(output_mode=mode)
    adapted.adapt(TRAINING)
    assert set(adapted.get_vocabulary()) == {"[UNK]", *vocabulary.words}
    if mode == "tf_idf":
        words = adapted.get_vocabulary()
        weights = dict(zip(words, np.asarray(adapted._lookup_layer.idf_weights), strict=True))
        assert np.allclose(vocabulary.idf, [weights[word] for word in vocabulary.words])


def test_the_most_frequent_words_are_kept_the_first_in_the_alphabet_of_equals() -> None:
    vocabulary = learn_words(["b a c", "c b d", "c"], TextColumn(kind="text", max_tokens=3))
    assert vocabulary.words == ("c", "b", "a")
