"""What users get out of training: the saved model, its signature, and predictions on samples of their own."""
