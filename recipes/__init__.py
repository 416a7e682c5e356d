"""Recipes of the shipped networks, for ``psahw sweep``: JSON files beside this one."""
