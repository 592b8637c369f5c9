"""Recycled memory is never that of an array which somebody can still see."""

import gc
import pickle

import jax
import numpy as np

from data_pipelines.buffers import Recycler


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_of_dead_arrays_is_used_again():
    recycler = Recycler()
    array = recycler.empty((3, 1000))
    first = address(array)
    del array
    assert address(recycler.empty((1000, 3))) == first
    other = recycler.empty((3, 1001))
    assert address(other) != first


def test_a_view_of_a_view_keeps_its_memory():
    recycler = Recycler()
    array = recycler.empty((4, 5, 6))
    array[:] = 7
    view = array[1:].reshape(-1)[10:][::2]
    del array
    gc.collect()
    recycler.empty((4, 5, 6))[:] = 9
    assert (view == 7).all()


def test_a_device_array_keeps_its_memory():
    recycler = Recycler()
    array = recycler.empty((256, 256))
    array[:] = 7
    on_device = jax.device_put(array[:128])
    del array
    for _ in range(3):
        recycler.empty((256, 256))[:] = 9
    assert (np.asarray(on_device) == 7).all()


def test_a_pickled_recycler_starts_anew_and_empty_shapes_work():
    recycler = pickle.loads(pickle.dumps(Recycler()))
    assert recycler.empty((2, 0, 3)).shape == (2, 0, 3)
    assert recycler.empty((2, 3)).dtype == np.uint8
