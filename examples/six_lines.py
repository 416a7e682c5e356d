"""From a network's name to a checked simulation, in six lines."""

import psahw

network = psahw.load("cifar10-psa-small")
plan = psahw.plan(network, board="marble", fps=2000, engines="mac")
result = psahw.simulate(network, plan, images=4)
print(f"{plan.fps:,.0f} frames per second; {result.mismatched_logits} wrong logits in {result.images} images")
result.check()
