"""The part of the Common Expression Language (CEL) that conditions need. Pure.

`syntax` parses a text into a tree. `check` finds the type of each node of the tree and the most steps
that an evaluation can take. `program` compiles the tree and evaluates it with a `meter` that counts
those steps. `operators` and `functions` are what the language does with values.
"""
