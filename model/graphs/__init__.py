"""Networks of any topology in torch: configuration, float network, quantised network, and export."""
