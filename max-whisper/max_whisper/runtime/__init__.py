"""Devices, compiled graphs and their cache, packed weights, threads, files: for every family of models."""
