"""The compiled program: training steps, losses, metrics, and the state that they carry from segment to segment."""
