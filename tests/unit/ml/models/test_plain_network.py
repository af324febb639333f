"""The plain arrays say what Keras says, and arrays that do not are refused."""

from pathlib import Path

import numpy as np
import pytest

from ml.models.parts import network, plain_network

LENGTH, WIDTH, UNITS = 16, 9, 5
pytestmark = pytest.mark.slow


def trained(seed: int = 1) -> object:
    built = network.build(network.import_keras(), UNITS, LENGTH, WIDTH)
    rng = np.random.default_rng(seed)
    built.set_weights([rng.normal(0, 0.5, part.shape).astype(np.float32) for part in built.get_weights()])
    return built


def test_plain_arrays_say_what_keras_says_of_any_input() -> None:
    keras_network = trained()
    plain = plain_network.taken(keras_network, LENGTH, WIDTH)
    windows = np.random.default_rng(2).normal(0, 4, (200, LENGTH, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(plain(windows), np.asarray(keras_network(windows)), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type,operator]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    plain = plain_network.taken(trained(), LENGTH, WIDTH)
    plain_network.write(plain, tmp_path / "network.npz", LENGTH)
    windows = np.random.default_rng(3).normal(0, 4, (16, LENGTH, WIDTH)).astype(np.float32)
    assert np.array_equal(plain_network.read(tmp_path / "network.npz")(windows), plain(windows))


def test_arrays_that_say_something_else_are_refused(tmp_path: Path) -> None:
    plain_network.write(plain_network.taken(trained(), LENGTH, WIDTH), tmp_path / "network.npz", LENGTH)
    with np.load(tmp_path / "network.npz") as found:
        arrays = dict(found)
    arrays["recurrent"] = -arrays["recurrent"]
    np.savez(tmp_path / "network.npz", **arrays)
    with pytest.raises(ValueError, match="do not say what they should"):
        plain_network.read(tmp_path / "network.npz")


def test_each_row_is_the_same_alone_and_among_any_others() -> None:
    rng = np.random.default_rng(4)
    shapes = {"kernel": (41, 96), "recurrent": (24, 96), "bias": (96,), "out": (65, 15), "out_bias": (15,)}
    parts = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    plain = plain_network.PlainNetwork(**parts)  # of the size that is trained: small products round alike anyway
    windows = rng.normal(0, 3, (1000, LENGTH, 41)).astype(np.float32)
    together = plain(windows)
    for count in (1, 3, 16, 250):
        some = [plain(windows[start : start + count]) for start in range(0, len(windows), count)]
        assert np.array_equal(np.concatenate(some), together)
