"""`torch.nn.ModuleList` with the type of its elements, for type checkers.

torch declares the elements as `nn.Module`, so that their own attributes are unknown. At run time `ModuleList` is
torch's class itself.
"""

from typing import TYPE_CHECKING

from torch import nn

__all__ = ["ModuleList"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Generic, TypeVar, overload

    Element = TypeVar("Element", bound=nn.Module)

    class ModuleList(nn.ModuleList, Generic[Element]):
        def __init__(self, modules: Iterable[Element] | None = None) -> None: ...
        @overload
        def __getitem__(self, idx: slice) -> nn.ModuleList: ...
        @overload
        def __getitem__(self, idx: int) -> Element: ...
        def __getitem__(self, idx: int | slice) -> Element | nn.ModuleList: ...
        def __iter__(self) -> Iterator[Element]: ...

else:
    ModuleList = nn.ModuleList
