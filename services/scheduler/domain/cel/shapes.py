"""What is known of a value before an evaluation: its type, and bounds of its size."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from services.scheduler.domain.cel.meter import text_steps


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of a value, and bounds of its size."""

    # int, double, string, bool, null, list, map; `dyn` where it may be several of them.
    type: str
    # At most so many elements (of a list or map).
    length: int = 1
    # At most so many steps to go through all of it.
    steps: int = 1
    # Of a list, or of a map's values; None: it has none.
    element: "Shape | None" = None
    # Of a map whose keys are known.
    fields: "Mapping[str, Shape] | None" = None

    def any_element(self) -> "Shape":
        """An element of a list, or a value of a map."""
        return self.element or replace(self, type="dyn", fields=None)


INT, DOUBLE, BOOL, NULL = map(Shape, ("int", "double", "bool", "null"))


def text(characters: int) -> Shape:
    """A text of at most so many characters."""
    return Shape("string", steps=text_steps(characters))


def list_of(element: Shape | None, length: int) -> Shape:
    """A list of at most so many."""
    return Shape("list", length, 1 + length * (element.steps if element else 0), element)


def map_of(fields: Mapping[str, Shape]) -> Shape:
    """A map whose keys are known."""
    return Shape("map", len(fields), map_steps(fields.values()), union(fields.values()), fields)


def map_steps(values: Iterable[Shape]) -> int:
    """At most so many steps to go through a map with these values."""
    return 1 + sum(1 + value.steps for value in values)


def union(shapes: Iterable[Shape | None]) -> Shape | None:
    """What is known of a value that is one of these; None is a shape of no value."""
    result: Shape | None = None
    for shape in shapes:
        result = either(result, shape) if result and shape else result or shape
    return result


def either(left: Shape, right: Shape) -> Shape:
    """What is known of a value that is one of two."""
    fields = None
    if (
        left.fields is not None
        and right.fields is not None
        and left.fields.keys() == right.fields.keys()
    ):
        fields = {name: either(field, right.fields[name]) for name, field in left.fields.items()}
    return Shape(
        left.type if left.type == right.type else "dyn",
        max(left.length, right.length),
        max(left.steps, right.steps),
        union((left.element, right.element)),
        fields,
    )


def concatenated(left: Shape, right: Shape) -> Shape:
    """What is known of two texts or lists, one after the other."""
    return Shape(
        left.type if left.type == right.type else "dyn",
        left.length + right.length,
        left.steps + right.steps,
        union((left.element, right.element)),
    )
