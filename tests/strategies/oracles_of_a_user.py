"""Oracle classes as a user might write them beside a YAML file."""

from __future__ import annotations

import random

import keras_tuner


class Walk(keras_tuner.Oracle):
    """Steps away from the best trial so far, with a generator that lives across questions."""

    def __init__(self, start=0.5, **kwargs):
        super().__init__(**kwargs)
        self.start = start
        self.generator = random.Random(self.seed)

    def populate_space(self, trial_id):
        done = [t for t in self.trials.values() if t.status == "COMPLETED"]
        values = {}
        for hp in self.hyperparameters.space:
            values[hp.name] = hp.prob_to_value(self.start if not self.trials else self.generator.random())
        if done:
            best = min(done, key=lambda t: t.score)
            values["x"] = best.hyperparameters.values["x"]
        return {"status": "RUNNING", "values": values}


class InPairs(Walk):
    """Waits while two trials run, drawing from its generator before it decides to."""

    def populate_space(self, trial_id):
        self.generator.random()
        if len(self.ongoing_trials) >= 2:
            return {"status": "IDLE"}
        if len(self.trials) >= 6:
            return {"status": "STOPPED"}
        return super().populate_space(trial_id)


class Remembers(keras_tuner.Oracle):
    """Says how often it was asked (x, in hundredths) after how many ends of trials it was asked each time (kind)."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.asked = 0
        self.ends = 0

    def populate_space(self, trial_id):
        self.asked += 1
        self.ends = self.ends * 10 + len(self.end_order)
        return {"status": "RUNNING", "values": {"x": self.asked / 100, "kind": self.ends % 7 % 2}}


class Raises(keras_tuner.Oracle):
    def populate_space(self, trial_id):
        raise KeyError("no such thing")


class Outside(keras_tuner.Oracle):
    def populate_space(self, trial_id):
        return {"status": "RUNNING", "values": {"x": 7.0}}


class Strange(keras_tuner.Oracle):
    def populate_space(self, trial_id):
        return {"status": "RUNNING", "values": {"tuner/epochs": 3}}


class Partial(keras_tuner.Oracle):
    """Leaves every parameter but x to chance."""

    def populate_space(self, trial_id):
        return {"status": "RUNNING", "values": {"x": 0.25}}


class EndsTrials(keras_tuner.Oracle):
    def end_trial(self, trial):
        super().end_trial(trial)


NOT_A_CLASS = 3
