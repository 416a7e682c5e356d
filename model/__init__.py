"""Training in torch: data, network, losses, the loop, quantisation, export to `psahw.network`."""
