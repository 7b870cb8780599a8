"""Is a served variant what it says? Its log-probabilities against an independent reference."""
