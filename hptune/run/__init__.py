"""What happened: a run's folder, its lock, its journal, the history read from it, and the ranking of its trials."""
