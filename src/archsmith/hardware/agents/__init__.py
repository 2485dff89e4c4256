"""Measuring on another machine: the agent that serves a device, and its client."""
