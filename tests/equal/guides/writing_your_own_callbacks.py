"""keras.io: writing your own callbacks."""

import keras
import keras_tuner
import numpy as np


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


def get_model(rate):
    model = keras.Sequential()
    model.add(keras.layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=rate),
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
    )
    return model


class LossAndErrorPrintingCallback(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.lines = []

    def on_train_batch_end(self, batch, logs=None):
        self.lines.append("Up to batch {}, the average loss is {:7.2f}.".format(batch, logs["loss"]))

    def on_test_batch_end(self, batch, logs=None):
        self.lines.append("Up to batch {}, the average loss is {:7.2f}.".format(batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.lines.append("epoch {}: {:7.2f}, {:7.2f}".format(epoch, logs["loss"], logs["mean_absolute_error"]))


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best = current
            self.wait = 0
            self.best_weights = self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True
                self.model.set_weights(self.best_weights)


class CustomLearningRateScheduler(keras.callbacks.Callback):
    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        if not hasattr(self.model.optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        lr = self.model.optimizer.learning_rate
        self.model.optimizer.learning_rate = self.schedule(epoch, lr)


LR_SCHEDULE = [(1, 0.05), (2, 0.01), (3, 0.005), (4, 0.001)]


def lr_schedule(epoch, lr):
    if epoch < LR_SCHEDULE[0][0] or epoch > LR_SCHEDULE[-1][0]:
        return lr
    for start, rate in LR_SCHEDULE:
        if epoch == start:
            return rate
    return lr


class HyperEarlyStopping(keras_tuner.HyperModel):
    def build(self, hp):
        return get_model(hp.Choice("rate", [0.1, 0.6]))

    def fit(self, hp, model, *args, callbacks=None, **kwargs):
        stop = EarlyStoppingAtMinLoss(patience=hp.Int("patience", 1, 2))
        given = [*callbacks, LossAndErrorPrintingCallback(), stop]
        return model.fit(*args, epochs=12, batch_size=16, callbacks=given, **kwargs)


class HyperRestored(HyperEarlyStopping):
    """What the restored weights are worth, measured afterwards."""

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        super().fit(hp, model, x, y, validation_data=validation_data, **kwargs)
        return float(model.evaluate(*validation_data, verbose=0)[0])


class HyperScheduler(keras_tuner.HyperModel):
    def build(self, hp):
        return get_model(hp.Choice("rate", [0.1, 0.6]))

    def fit(self, hp, model, *args, callbacks=None, **kwargs):
        given = [*callbacks, CustomLearningRateScheduler(lr_schedule)]
        return model.fit(*args, epochs=5, batch_size=16, callbacks=given, **kwargs)
