"""Send deliveries to receivers outside: rounds, lanes, and the senders of each kind."""
