"""The settings of loaded libraries: how each is read and set. A part of the table of `settings`.

Keras's scopes and TensorFlow's switches are among them: code that enters a scope and never leaves it, or registers
something else as `relu`, does so for its own trial alone.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from operator import eq
from typing import Any, Final, TypeAlias

from hptune.base.keras_json import keras_json

ABSENT: Final = "not loaded"
"""The value where a library is not loaded; putting it back sets what the library begins with."""


def _logging() -> Any:
    root = getattr(sys.modules.get("logging"), "root", None)
    if root is None:
        return ABSENT
    return root.level, root.disabled, [*root.handlers], [*root.filters], root.manager.disable


def _to_logging(held: Any) -> None:
    root = sys.modules["logging"].root
    level, root.disabled, root.handlers[:], root.filters[:], root.manager.disable = (
        (30, False, [], [], 0) if held is ABSENT else held
    )
    root.setLevel(level)  # it also forgets what loggers have found to be enabled


def _timeout() -> Any:
    """Of new sockets."""
    socket = sys.modules.get("_socket")
    return ABSENT if socket is None else socket.getdefaulttimeout()


def _to_timeout(held: Any) -> None:
    sys.modules["_socket"].setdefaulttimeout(None if held is ABSENT else held)


def _start_method() -> Any:
    """Of child processes; once it is set, Python refuses to have it set again."""
    module = sys.modules.get("multiprocessing")
    return ABSENT if module is None else module.get_start_method(allow_none=True)


def _to_start_method(held: Any) -> None:
    sys.modules["multiprocessing"].set_start_method(None if held is ABSENT else held, force=True)


def _tells_faults() -> Any:
    module = sys.modules.get("faulthandler")
    return module is not None and module.is_enabled()


def _to_telling_faults(on: bool) -> None:
    module = sys.modules["faulthandler"]
    (module.enable if on else module.disable)()


def _numpy() -> Any:
    """How it prints (part of the context from NumPy 2.2 on), and what its own functions draw from."""
    random = sys.modules.get("numpy.random")
    if random is None or not hasattr(random, "get_bit_generator"):  # it is just being imported
        return ABSENT
    return sys.modules["numpy"].get_printoptions(), random.get_bit_generator()


def _to_numpy(held: Any) -> None:
    if held is ABSENT:
        sys.modules["numpy.random"].set_bit_generator(sys.modules["numpy.random"].MT19937())
    else:
        options, generator = held
        sys.modules["numpy"].set_printoptions(**options)
        sys.modules["numpy.random"].set_bit_generator(generator)


def _sklearn() -> Any:
    config = getattr(sys.modules.get("sklearn"), "get_config", None)
    return ABSENT if config is None else config()


def _to_sklearn(held: Any) -> None:
    usual = getattr(sys.modules.get("sklearn._config"), "_global_config", {})
    sys.modules["sklearn"].set_config(**(usual if held is ABSENT else held))


_POOLS: list[Any] = []
"""The libraries that hold pools of threads, and how many modules were loaded when they were looked for."""


def _pools() -> Any:
    """How many threads NumPy and scikit-learn use, on which sums depend. They are looked for as modules load."""
    if "numpy" not in sys.modules:
        return ABSENT
    import threadpoolctl  # type: ignore[import-untyped]

    if not _POOLS or _POOLS[0] != len(sys.modules):
        _POOLS[:] = [len(sys.modules), threadpoolctl.ThreadpoolController().lib_controllers]
    return {pool.filepath: pool.get_num_threads() for pool in _POOLS[1]}


def _to_pools(held: Any) -> None:
    for pool in _POOLS[1]:
        if pool.filepath in held:
            pool.set_num_threads(held[pool.filepath])


def _same_pools(now: Any, then: Any) -> bool:
    return then is ABSENT or (now is not ABSENT and all(now.get(path) == threads for path, threads in then.items()))


_SWITCHES = ("interactive_logging", "traceback_filtering", "flash_attention")
_LIMITS_OF_FIT = ("max_epochs", "max_steps_per_epoch")


def _keras_config() -> Any:
    """What `keras.config` holds; ABSENT also where a part of Keras is loaded: it is just being imported."""
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is None or not hasattr(config, "dtype_policy"):
        return ABSENT
    held = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()
    switches = tuple(getattr(config, f"is_{name}_enabled", bool)() for name in _SWITCHES)
    return *held, switches, tuple(getattr(config, name, int)() for name in _LIMITS_OF_FIT)


def _to_keras_config(held: Any) -> None:
    config: Any = sys.modules["keras"].config
    usual = keras_json()  # for code that was the first to load Keras
    fallback = (usual["floatx"], usual["epsilon"], usual["image_data_format"], usual["floatx"], _USUAL, (None, None))
    floatx, epsilon, image_data_format, policy, switches, limits = fallback if held is ABSENT else held
    config.set_floatx(floatx)
    config.set_epsilon(epsilon)
    config.set_image_data_format(image_data_format)
    config.set_dtype_policy(policy)
    for name, on in zip(_SWITCHES, switches, strict=True):
        if on is not None and getattr(config, f"is_{name}_enabled", bool)() != on:
            getattr(config, f"{'enable' if on else 'disable'}_{name}")()
    for name, most in zip(_LIMITS_OF_FIT, limits, strict=True):
        if getattr(config, name, int)() != most and hasattr(config, f"set_{name}"):
            getattr(config, f"set_{name}")(most)


_USUAL = (True, True, None)
"""The switches of Keras as it begins; None: what the machine can."""

# --- what Keras keeps beside its settings ---------------------------------------------------------------------------

_KEPT_BY_KERAS = (
    *("autocast_scope", "current_call_ctx", "custom_objects_scope_dict", "distribution", "in_tf_graph_scope"),
    *("name_scope_stack", "nnx_enabled", "remat_scope_stack", "safe_mode_saving", "stateless_scope", "symbolic_scope"),
    *("torch_device", "tracking_on", "use_legacy_config"),
)
"""Of its global state: the scopes that are entered, and switches that it has no function to ask for."""

_NAMES = "object_name_uids"


def _scopes() -> Any:
    """The scopes that Keras is in, what it finds under names without a package, such as `relu`, and how far it has
    counted the names that it makes: `dense_3`, `auc_1`.
    """
    state = sys.modules.get("keras.src.backend.common.global_state")
    registry = sys.modules.get("keras.src.saving.object_registration")
    if not hasattr(state, "GLOBAL_STATE_TRACKER") or not hasattr(registry, "GLOBAL_CUSTOM_OBJECTS"):
        return ABSENT
    held = vars(state.GLOBAL_STATE_TRACKER)  # type: ignore[union-attr]  # looked at above
    plain = {name: value for name, value in registry.GLOBAL_CUSTOM_OBJECTS.items() if ">" not in name}  # type: ignore[union-attr]
    return tuple(_copied(held.get(name)) for name in _KEPT_BY_KERAS), plain, dict(held.get(_NAMES) or {})


def _copied(value: Any) -> Any:
    """A copy; an empty list or dict counts as None, since leaving a scope leaves one behind."""
    return (type(value)(value) or None) if type(value) in (list, dict) else value


def _to_scopes(held: Any) -> None:
    state: Any = sys.modules["keras.src.backend.common.global_state"]
    registered: Any = sys.modules["keras.src.saving.object_registration"].GLOBAL_CUSTOM_OBJECTS
    values, plain, counted = ((None,) * len(_KEPT_BY_KERAS), {}, {}) if held is ABSENT else held
    state.set_global_attribute(_NAMES, defaultdict(int, counted))
    for name, value in zip(_KEPT_BY_KERAS, values, strict=True):
        state.set_global_attribute(name, _copied(value))
    for name in [name for name in registered if ">" not in name]:
        del registered[name]
    registered.update(plain)


def _same_scopes(now: Any, then: Any) -> bool:
    if now is ABSENT or then is ABSENT:
        return now is then or now == ((None,) * len(_KEPT_BY_KERAS), {}, {})
    pairs = zip((*now[0], now[1]), (*then[0], then[1]), strict=True)
    return now[2] == then[2] and all(
        a is b or (type(a) in (list, dict) and type(a) is type(b) and _same_things(a, b)) for a, b in pairs
    )


def _same_things(now: Any, then: Any) -> bool:
    """Whether both are lists, or dicts, of the same objects in the same order."""
    if type(now) not in (list, dict) or type(now) is not type(then):
        return False
    now, then = (list(side.items()) if isinstance(side, dict) else list(enumerate(side)) for side in (now, then))
    return len(now) == len(then) and all(a[0] == b[0] and a[1] is b[1] for a, b in zip(now, then, strict=True))


def _tensorflow() -> Any:
    """Whether functions run eagerly, operations may move to another device, XLA is on, and float32 is rounded; and what
    can't be put back: whether operations run eagerly, in a strategy's scope, and on which device.
    """
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    if config is None or not hasattr(config, "functions_run_eagerly") or not hasattr(config, "experimental"):
        return ABSENT
    tensorflow: Any = sys.modules["tensorflow"]
    placed, jit = config.get_soft_device_placement(), config.optimizer.get_jit()
    rounded = config.experimental.tensor_float_32_execution_enabled()
    context: Any = sys.modules["tensorflow.python.eager.context"]
    scope = tensorflow.executing_eagerly(), tensorflow.distribute.has_strategy(), context.context().device_name
    return config.functions_run_eagerly(), placed, jit, rounded, scope


def _to_tensorflow(held: Any) -> None:
    config: Any = sys.modules["tensorflow"].config
    eagerly, placed, jit, rounded, _ = (False, True, "", True, None) if held is ABSENT else held
    config.run_functions_eagerly(eagerly)
    config.set_soft_device_placement(placed)
    if config.optimizer.get_jit() != jit:
        config.optimizer.set_jit(jit or False)
    config.experimental.enable_tensor_float_32_execution(rounded)


Read: TypeAlias = Callable[[], Any]

SETTINGS: dict[str, tuple[Read, Callable[[Any], Any], Callable[[Any, Any], bool]]] = {
    "logging": (_logging, _to_logging, eq),
    "timeout": (_timeout, _to_timeout, eq),
    "start method": (_start_method, _to_start_method, eq),
    "faults": (_tells_faults, _to_telling_faults, eq),
    "numpy": (_numpy, _to_numpy, eq),
    "pools": (_pools, _to_pools, _same_pools),
    "sklearn": (_sklearn, _to_sklearn, eq),
    "keras": (_keras_config, _to_keras_config, eq),
    "scopes": (_scopes, _to_scopes, _same_scopes),
    "tensorflow": (_tensorflow, _to_tensorflow, eq),
}
"""By name: how it is read, how it is set, and whether it is (now, then) as it was."""
