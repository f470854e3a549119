"""The catalog: products, dated prices, price protection, stock and its holds."""
