"""How an agent is run: one module per runtime, plus the catalogue that names them."""
