"""What an order would come to, and what is in its way: for workers, previews and forecasts alike."""
