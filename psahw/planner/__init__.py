"""From a network and a device to a plan: an engine, a parallelism and a cost for every layer."""
