"""Networks in torch: data, models, losses, training, quantisation, and export to `psahw.network`."""
