"""What moves: codecs, processor, historian and stores, the trainer's stream side, alerting, gateway."""
