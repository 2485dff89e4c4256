"""Measuring on another machine: the agent that serves a device, and how one talks to it."""
