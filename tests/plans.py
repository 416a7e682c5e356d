"""Plans that are changed for tests."""

import dataclasses

from psahw.architecture import nodes

__all__ = ["inferred"]


def inferred(plan):
    """Return the plan without multiplier primitives, of which Amaranth's simulator has no models."""

    def changed(node):
        if isinstance(node, nodes.Residual):
            paths = {name: tuple(map(changed, getattr(node, name))) for name in ("branch", "bypass")}
            return dataclasses.replace(node, **paths)
        if isinstance(node, nodes.MacArray | nodes.LocalMixing):
            return dataclasses.replace(node, multiplier=None)
        return node

    return dataclasses.replace(plan, pipeline=tuple(map(changed, plan.pipeline)))
