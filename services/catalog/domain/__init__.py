"""Products, prices and stock: values and rules, without I/O."""
