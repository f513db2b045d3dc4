"""What comes after a search: train-best, reproduce, predict, and the winner's file formats."""
