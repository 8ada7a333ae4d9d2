"""Take a row out of what was written about rows as JSON: the entry that names or shows it goes, and its place in lists that run beside."""

from __future__ import annotations

from typing import Any

from weighbridge.deployment.erase_marks import ID_KEYS, Marks

GONE = "(erased)"
BESIDE_NOTHING = ("classes", "columns")  # what is listed so is never about rows


class Cleaner:
    """Cleans JSON values; `hits` counts what was taken out or replaced."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.numbers = frozenset(marks.texts)
        self.hits = 0

    def clean(self, value: Any) -> tuple[Any, bool]:
        """Return the value without the row, and whether the value itself is about it, so that it goes from the list it stands in."""
        return self._clean(value, "")

    def replaced(self, value: Any) -> Any:
        """Return the value, a statement that stays, with what names or shows the row replaced by `(erased)`."""
        if isinstance(value, dict):
            return {name: self.replaced(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.replaced(one) for one in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """Return a text with what names or shows the row replaced."""
        for word in self.marks.words:
            if word in text:
                self.hits += 1
                text = text.replace(word, GONE)
        return text

    def _clean(self, value: Any, key: str) -> tuple[Any, bool]:
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return self._array(value, key)[0], False
        return value, self._hit(value, key)

    def _hit(self, value: Any, key: str) -> bool:
        if isinstance(value, str):
            return (key in ID_KEYS and value in self.marks.ids) or any(word in value for word in self.marks.words)
        return isinstance(value, float) and repr(value) in self.numbers

    def _object(self, value: dict[str, Any]) -> tuple[Any, bool]:
        if set(value) == {"template", "values"}:
            return self.replaced(value), False
        made, about, cut = dict[str, Any](), False, dict[int, set[int]]()
        for name, one in value.items():
            if any(word in name for word in self.marks.words):
                self.hits += 1
                continue
            if isinstance(one, list):
                made[name], places = self._array(one, name)
                if places:
                    cut.setdefault(len(one), set()).update(places)
                continue
            made[name], hit = self._clean(one, name)
            about = about or hit
        for name, one in value.items():
            if isinstance(one, list) and name in made and name not in BESIDE_NOTHING and len(one) in cut:
                beside = [part for place, part in enumerate(one) if place not in cut[len(one)]]
                made[name], _ = self._array(beside, name)
        return made, about

    def _array(self, value: list[Any], key: str) -> tuple[list[Any], set[int]]:
        kept, gone = list[Any](), set[int]()
        for place, one in enumerate(value):
            cleaned, about = self._clean(one, key)
            if about:
                self.hits += 1
                if not isinstance(one, dict):  # an entry stands for itself, a value for one column of a row
                    gone.add(place)
            else:
                kept.append(cleaned)
        return kept, gone
