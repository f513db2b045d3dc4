"""Free text: held against keras.layers.TextVectorization, whose numbers it must give without TensorFlow."""

from typing import Any

import numpy as np
import pytest

from hptune.experiment.data import TextColumn
from hptune.training.data.table.words import Vocabulary, learn_words

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


@pytest.mark.parametrize("most", [3, 4, 9, 1000])
@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf", "int"])
def test_the_vocabulary_is_what_the_layer_would_adapt_to(mode: Any, most: int) -> None:
    """In its order, and cut where it cuts: of words as frequent as each other too."""
    import keras

    length = 5 if mode == "int" else None
    vocabulary = learn_words(TRAINING, TextColumn(kind="text", output_mode=mode, max_tokens=most, length=length))
    adapted = keras.layers.TextVectorization(output_mode=mode, max_tokens=most, output_sequence_length=length)
    adapted.adapt(TRAINING)
    assert adapted.get_vocabulary() == [*([""] if mode == "int" else []), "[UNK]", *vocabulary.words]
    assert np.allclose(vocabulary(OTHERS), np.asarray(adapted(np.array(OTHERS))), atol=1e-6)


@pytest.mark.parametrize(("mode", "least"), [("count", 2), ("int", 3)])
def test_a_vocabulary_has_room_for_a_word(mode: Any, least: int) -> None:
    length = 5 if mode == "int" else None
    assert learn_words(TRAINING, TextColumn(kind="text", output_mode=mode, max_tokens=least, length=length)).words
    with pytest.raises(ValueError, match=f"max_tokens must be at least {least}"):
        TextColumn(kind="text", output_mode=mode, max_tokens=least - 1, length=length)
