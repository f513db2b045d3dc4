"""Free text as numbers, like those of `keras.layers.TextVectorization` with its defaults.

Written out here, so that tables are read without TensorFlow; a test compares it with the layer. A text is lower-cased
(A to Z alone, as in TensorFlow), its punctuation is removed, and white space separates its words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hptune.experiment.data import TextColumn, WordsAs
from hptune.training.data.arrays import Array

_PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
_STANDARD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", _PUNCTUATION)
_SPACE = re.compile(r"[ \t\n\v\f\r]+")  # not str.split's: TensorFlow knows these alone


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the training part taught about a column of free text: the arguments of a stock `TextVectorization`.

    words: the most frequent first; among equals, the last in the alphabet first. Any other word is unknown.
    output_mode: what a text becomes.
        multi_hot: [1 + words] of 0 and 1, whether a word occurs; the first place stands for all unknown words.
        count: how often each occurs, in the same places.
        tf_idf: how often, times the word's weight; the unknown words' weight is the mean of `idf`.
        int: [length] numbers of the words in their order, cut or filled with 0 at the end; 1 is an unknown word, and
            `words` are numbered from 2.
    idf: for tf_idf, log(1 + texts / (1 + texts with the word)), one for each of `words`; else ().
    length: for int, how many words are kept of a text; else None.
    """

    words: tuple[str, ...]
    output_mode: WordsAs
    idf: tuple[float, ...] = ()
    length: int | None = None

    @property
    def width(self) -> int:
        """How many numbers a text becomes."""
        return self.length if self.length is not None else 1 + len(self.words)

    def __call__(self, texts: Sequence[str]) -> Array:
        """float32 [texts, width]."""
        if self.length is not None:
            return self._numbers(texts, self.length)
        place = {word: i for i, word in enumerate(self.words, start=1)}
        counts = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            for word, count in Counter(place.get(word, 0) for word in words_of(text)).items():
                counts[row, word] = count
        if self.output_mode == "multi_hot":
            return np.minimum(counts, 1)
        return counts if self.output_mode == "count" else counts * np.asarray([np.mean(self.idf), *self.idf], "f4")

    def _numbers(self, texts: Sequence[str], length: int) -> Array:
        number = {word: i for i, word in enumerate(self.words, start=2)}
        matrix = np.zeros((len(texts), length), np.float32)
        for row, text in enumerate(texts):
            numbers = [number.get(word, 1) for word in words_of(text)[:length]]
            matrix[row, : len(numbers)] = numbers
        return matrix


def words_of(text: str) -> list[str]:
    """The words of a text.

    >>> words_of("It's GREAT,  isn't it?")
    ['its', 'great', 'isnt', 'it']
    """
    return [word for word in _SPACE.split(text.translate(_STANDARD)) if word]


def learn_words(texts: Iterable[str], options: TextColumn) -> Vocabulary:
    """The vocabulary of the training part's texts; empty where they hold no words."""
    counts: Counter[str] = Counter()
    having: Counter[str] = Counter()
    rows = 0
    for text in texts:
        words = words_of(text)
        counts.update(words)
        having.update(set(words))
        rows += 1
    most = sorted(counts, key=lambda word: (counts[word], word), reverse=True)[: options.most_words]
    idf = (
        tuple(float(np.log(1 + rows / (1 + having[word]))) for word in most) if options.output_mode == "tf_idf" else ()
    )
    return Vocabulary(tuple(most), options.output_mode, idf, options.length)
