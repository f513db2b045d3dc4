"""What users get out of training: the saved model, its signature, and predictions on their own samples."""
