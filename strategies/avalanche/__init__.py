"""Avalanche's own plugins, each under the name `avalanche:FILE`: they run unchanged on this project's classifier and loop."""
