"""What is handed out: networks as files with their certificates, written, picked and verified."""
