"""Modules by task, under any name that a task may have.

PyTorch refuses a module whose name is an attribute of its container, such as ``apply``, ``type`` or ``items``. Such a
task's module has another key; a colon is in no task's name.

Examples
--------
>>> from torch import nn
>>> from pfmsmtrec_flwr.model.by_task import ModulesByTask
>>> modules = ModulesByTask({"ctr": nn.Linear(1, 1), "apply": nn.Linear(1, 1)})
>>> list(modules)
['ctr', 'task:apply']
>>> [task for task, _ in modules.of_tasks()]
['ctr', 'apply']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

_PREFIX = "task:"


class ModulesByTask(nn.ModuleDict):
    """Modules in the order of the tasks."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for task, module in modules.items():
            self.add_module(f"{_PREFIX}{task}" if hasattr(self, task) else task, module)

    def of_tasks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the name of each task and its module."""
        for key, module in self.items():
            yield key.removeprefix(_PREFIX), module
