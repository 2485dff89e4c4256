"""What is handed out: networks as files with their certificates, written, picked and verified."""

__all__ = ["files"]
