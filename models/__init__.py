"""What is learnt: networks, calibration, risk, training, gate, registry. Knows torch, not Kafka."""
