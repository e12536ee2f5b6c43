"""A device whose tensors are on the CPU, but which refuses operations on tensors of two devices, as CUDA does.

Registering a device is for good, so that only a process of its own imports this module.
"""

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map_only

backend_registration._setup_privateuseone_for_python_backend("gpu")
torch.gpu.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
GPU = torch.device("gpu:0")
_ATEN = torch.ops.aten


class OnGPU(torch.Tensor):
    """A tensor of the device; its numbers are on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_cuda = True  # rules choose by it how to divide

    @staticmethod
    def __new__(cls, numbers):
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset()}
        with torch.inference_mode(False):
            tensor = torch.Tensor._make_wrapper_subclass(
                cls, numbers.size(), **layout, dtype=numbers.dtype, device=GPU
            )
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __repr__(self):
        return f"OnGPU({self.numbers})"

    def __reduce_ex__(self, protocol):
        return self.numbers.__reduce_ex__(protocol)

    def tolist(self):
        return self.cpu().tolist()


class PretendAccelerator(Accelerator):
    """Lightning's view of the device."""

    def setup_device(self, device):
        pass

    def teardown(self):
        pass

    def get_device_stats(self, device):
        return {}

    @staticmethod
    def parse_devices(devices):
        return 1

    @staticmethod
    def get_parallel_devices(devices):
        return [GPU]

    @staticmethod
    def auto_device_count():
        return 1

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def name():
        return "gpu"


class OnePretendGPU(SingleDeviceStrategy):
    """Everything on the one device."""

    def __init__(self):
        super().__init__(device=GPU)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on the CPU, for the device if that is where it would run."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_gpu = any(isinstance(tensor, OnGPU) for tensor in tensors)
    copies = func in (_ATEN._to_copy.default, _ATEN.copy_.default)
    indexes = func is _ATEN.index.Tensor and isinstance(tensors[0], OnGPU)  # takes an index from the CPU
    others = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, OnGPU)]
    if on_gpu and others and not copies and not indexes:
        raise RuntimeError(f"{func}: tensors are on two devices")
    if kwargs.get("device") is not None:
        on_gpu = torch.device(kwargs["device"]).type == "gpu"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map_only(OnGPU, lambda tensor: tensor.numbers, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    if func._schema.is_mutable:
        changed = kwargs.get("out", args[0])
        assert not isinstance(result, torch.Tensor) or changed.shape == result.shape, f"{func} resizes"
        return changed
    return tree_map_only(torch.Tensor, _to_gpu, result) if on_gpu else result


def _to_gpu(tensor: torch.Tensor) -> OnGPU:
    return tensor if isinstance(tensor, OnGPU) else OnGPU(tensor)


_FACTORIES = [
    _ATEN.empty.memory_format,
    _ATEN.empty_strided.default,
    _ATEN.eye.default,
    _ATEN.eye.m,
    _ATEN.arange.default,
    _ATEN.arange.start,
    _ATEN.arange.start_step,
    _ATEN.linspace.default,
]
_LIBRARY = torch.library.Library("aten", "IMPL")
for _factory in [*_FACTORIES, _ATEN._to_copy.default, _ATEN.copy_.default]:
    _LIBRARY.impl(_factory, lambda *a, _func=_factory, **k: _run(_func, a, k), "PrivateUse1")
