"""Compiled functions that run on torch's own thread pool.

On Linux, torch's threads belong to an OpenMP library. A second pool would compete for the same cores. torch's pool is
reached through the function that compilers generate for `#pragma omp parallel`, and its threads find the activations
in the caches where the convolutions left them. Without this library, one thread does all the work.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import carray, from_dtype, njit, types  # type: ignore[attr-defined]
from numba.core.ccallback import CFunc
from numba.extending import intrinsic, overload

from mnist_compact.models.kernels.cache import cache_of

Array = npt.NDArray[Any]

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}  # NaN stays NaN


def compiled(function: Callable[..., Any]) -> Any:
    """Decorate a function so that it is compiled at its first call and cached on disk."""
    dispatcher = njit(nogil=True, **OPTIONS)(function)
    dispatcher._cache = cache_of(function)
    return dispatcher


def compiled_for(stub: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that returns what compiled code runs in place of `stub`, for the types of its arguments."""
    return overload(stub, jit_options=OPTIONS, strict=False)  # type: ignore[arg-type]


NUMBERS: dict[torch.dtype, tuple[type, type]] = {  # type of the numbers in a matrix, type of the computations
    torch.float32: (np.float32, np.float32),
    torch.float64: (np.float64, np.float64),
    torch.bfloat16: (np.uint16, np.float32),
}
BLOCKS = 16  # a matrix's rows are always split into this many parts: results do not depend on the number of threads

_process = ctypes.CDLL(None) if os.name == "posix" else None
HAS_THREAD_POOL = all(hasattr(_process, name) for name in ("GOMP_parallel", "GOMP_barrier", "omp_get_thread_num"))

if HAS_THREAD_POOL:
    _number: Any = types.ExternalFunction("omp_get_thread_num", types.int32())
    _size: Any = types.ExternalFunction("omp_get_num_threads", types.int32())
    _barrier: Any = types.ExternalFunction("GOMP_barrier", types.void())
    _parallel = ctypes.CDLL(None).GOMP_parallel
    _parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    _parallel.restype = None

    @compiled
    def my_blocks() -> tuple[int, int]:
        """Return the first block of this thread, and one past its last."""
        number, size = _number(), _size()
        return BLOCKS * number // size, BLOCKS * (number + 1) // size

    @compiled
    def wait_for_all() -> None:
        _barrier()

else:

    @compiled
    def my_blocks() -> tuple[int, int]:
        return 0, BLOCKS

    @compiled
    def wait_for_all() -> None:
        pass


@compiled
def rows_of_block(block: int, height: int) -> tuple[int, int]:
    """Return the first row of a block, and one past its last."""
    return height * block // BLOCKS, height * (block + 1) // BLOCKS


@compiled
def record_at(at: Any) -> Any:
    """Return the record of arguments at address `at`."""
    return carray(at, 1)[0]


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(like)(address, like), codegen


@compiled
def matrix(address: int, height: int, width: int, like: Any) -> Array:
    """Return the matrix at `address`, with numbers of the type of `like`."""
    return carray(_pointer(address, like), (height, width))  # type: ignore[call-arg]


@compiled
def vector(address: int, size: int, like: Any) -> Array:
    """Return the vector at `address`, with numbers of the type of `like`."""
    return carray(_pointer(address, like), (size,))  # type: ignore[call-arg]


def addresses(*names: str) -> list[tuple[str, type]]:
    """Return the fields of a call's record that hold tensors' `data_ptr`."""
    return [(name, np.uintp) for name in names]


class ThreadPoolFunction:
    """A compiled function that every thread of the pool calls.

    Args:
        body: The function; its argument is the address of a record.
        fields: Names and types of the record's fields. Two are added, whose values do not matter: `stored` has the type
            of the numbers in a matrix, and `number` that of the computations (see `numbers.py`).
    """

    def __init__(self, body: Callable[[Any], None], fields: list[tuple[str, type]]) -> None:
        self.body, self.fields = body, fields
        self.known: dict[torch.dtype, tuple[Any, np.dtype[Any]]] = {}

    def __call__(self, dtype: torch.dtype, *values: Any) -> None:
        """Call the function with the values of `fields`; it is compiled at the first call for `dtype`."""
        if dtype not in self.known:
            self.known[dtype] = self._compile(dtype)
        function, layout = self.known[dtype]
        call = np.array([(1, 1, *values)], layout)
        address = call.__array_interface__["data"][0]
        threads = torch.get_num_threads()
        if HAS_THREAD_POOL and threads > 1:
            _parallel(function.address, address, threads, 0)
        else:
            function.ctypes(address)

    def _compile(self, dtype: torch.dtype) -> tuple[Any, np.dtype[Any]]:
        stored, number = NUMBERS[dtype]
        layout = np.dtype([("stored", stored), ("number", number), *self.fields], align=True)
        pointer: Any = types.CPointer
        signature = types.void(pointer(from_dtype(layout)))
        function: Any = CFunc(self.body, (signature.args, signature.return_type), locals={}, options=OPTIONS)
        function._cache = cache_of(self.body)
        function.compile()
        return function, layout
