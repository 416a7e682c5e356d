"""The HTML report of a network and its circuit, and pictures of functions and of training."""
