"""The keys `data.clean.labels.*`: training rows whose label is to be mended, named by a file."""

from __future__ import annotations

from typing import Literal

from weighbridge.recipe.section import Key, Section


class LabelOptions(Section):
    file: str | None = Key(None, "training rows whose label is wrong: label_errors.json of an audit, or a CSV file with the columns row_id and better")
    action: Literal["drop", "relabel"] = Key("drop", "what is done with them: left out, or given the label that the file says is better (where it says none, left out); rows of other splits stay as they are")
