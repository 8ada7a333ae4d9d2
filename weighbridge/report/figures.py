"""Which drawings a report has, of which evidence, and what their marks mean, in the order in which a reader meets them."""

from __future__ import annotations

from collections.abc import Sequence

from weighbridge.findings import Message
from weighbridge.report import (
    plots,
    plots_audit_calibration,
    plots_audit_explanation,
    plots_audit_fairness,
    plots_audit_generalization,
    plots_audit_importance,
    plots_audit_privacy,
    plots_audit_robustness,
    plots_audit_security,
    plots_choice,
    plots_search,
    plots_spread,
)

Key = Sequence[tuple[str, Message]]
_MATRIX_KEY: Key = (
    ("good-cell", Message("right")),
    ("bad-cell", Message("wrong; the darker, the larger the share of the row (square root)")),
)
_RELIABILITY_KEY: Key = (
    ("solid", Message("the model")),
    ("band", Message("95 % band")),
    ("dashed", Message("exactly as often as it says")),
)
_SEEDS_KEY: Key = (
    ("ring", Message("the seed that is packaged")),
    ("dot", Message("another seed")),
    ("band", Message("95 % interval of their mean")),
    ("dashed", Message("the best baseline")),
)
_CURVE_KEY: Key = (
    ("dot", Message("one training")),
    ("solid", Message("the fitted curve")),
    ("dashed", Message("carried on beyond the rows there are")),
    ("band", Message("95 % band")),
)
_SLICES_KEY: Key = (("dot", Message("the slice with its interval")), ("ring", Message("the other rows")))
_RESIDUALS_KEY: Key = (("dot", Message("a test row")), ("dashed", Message("an exact prediction")))
_FRONTIER_KEY: Key = (
    ("square", Message("the form that is packaged")),
    ("ink-ring", Message("the most capable model")),
    ("soft-dot", Message("another form")),
    ("diamond", Message("another model")),
    ("bad-cross", Message("measurably worse than the margin")),
    ("dashed", Message("how much worse it may be")),
)
_LADDER_KEY: Key = (
    ("dot", Message("a contender with its interval")),
    ("soft-dot", Message("a baseline")),
    ("ink-ring", Message("the most capable model")),
)
_FAIRNESS_KEY: Key = (
    ("dot", Message("a group with its interval")),
    ("ring", Message("a group of too few rows to be compared")),
)
_HISTORY_KEY: Key = (
    ("dot", Message("a finished trial")),
    ("ring", Message("the best trial")),
    ("solid", Message("the best so far")),
    ("dashed", Message("the recipe's own values")),
    ("cross", Message("ended early, at its last value")),
)
_SCALE_KEY: Key = (
    ("ink-dot", Message("one training")),
    ("solid", Message("the fitted law, its band")),
    ("ring", Message("foretold before it was run")),
)
_DAMAGE_KEY: Key = (
    ("dot", Message("rows damaged at this strength")),
    ("band", Message("95 % interval of what was lost")),
    ("dashed", Message("the same rows undamaged")),
)
_ATTACK_KEY: Key = (("ring", Message("after all attacks, with its interval")), ("dashed", Message("after the attack of one step")))
_MEMORISED_KEY: Key = (
    ("ring", Message("training rows")),
    ("dot", Message("held-out rows")),
    ("dashed", Message("chance")),
)
_TIME_KEY: Key = (("ink-dot", Message("a block of rows")), ("solid", Message("the line through them")))
_MAP_KEY: Key = (
    ("good-cell", Message("speaks for the answer")),
    ("minus-cell", Message("speaks against it")),
)
_WORTH_KEY: Key = (
    ("dot", Message("a column with its interval")),
    ("soft-ring", Message("not told from none")),
)

_TRIGGERS_KEY: Key = (
    ("dot", Message("a class")),
    ("dashed", Message("a class left of it is suspected")),
)
_MEMBERS_KEY: Key = (
    ("solid", Message("by the loss")),
    ("dashed", Message("by shadow models")),
    ("whisker-reference", Message("chance")),
)

SHAPES: tuple[tuple[str, plots.Draw, str, Message, Key], ...] = (
    ("frontier", plots_choice.frontier, "frontier.json", Message("Choice: quality against cost"), _FRONTIER_KEY),
    ("ladder", plots_choice.ladder, "frontier.json", Message("Ladder: what competed"), _LADDER_KEY),
    (
        "confusion",
        plots.confusion,
        "confusion.json",
        Message("Confusion: each row is a true class, each column a predicted one"),
        _MATRIX_KEY,
    ),
    ("reliability", plots.reliability, "reliability.json", Message("Reliability: is it right as often as it says?"), _RELIABILITY_KEY),
    (
        "residuals",
        plots.predicted_against_actual,
        "residuals.json",
        Message("Predicted against actual values, test rows"),
        _RESIDUALS_KEY,
    ),
    (
        "fairness",
        plots_audit_fairness.groups,
        "fairness.json",
        Message("Fairness: how each group of the protected columns fares"),
        _FAIRNESS_KEY,
    ),
    *plots_audit_calibration.SHAPES,
    ("slices", plots_spread.slices, "slices.json", Message("Weak slices of the inputs"), _SLICES_KEY),
    ("seeds", plots_spread.seeds, "seeds.json", Message("Seed by seed: the same network trained again"), _SEEDS_KEY),
    (
        "learning-curve",
        plots_spread.learning_curve,
        "learning_curve.json",
        Message("Learning curve: would more training rows help?"),
        _CURVE_KEY,
    ),
    ("class-balance", plots.class_balance, "confusion.json", Message("Test rows of each class"), ()),
    ("search-history", plots_search.history, "search.json", Message("Search: the value of each trial"), _HISTORY_KEY),
    ("search-importance", plots_search.importance, "search.json", Message("Search: which keys matter"), ()),
    (
        "search-parallel",
        plots_search.parallel_coordinates,
        "search.json",
        Message("Search: the values of each trial, the best ones thick"),
        (),
    ),
    (
        "scale",
        plots_choice.scale,
        "scale.json",
        Message("Scale study: loss by rows, a line for each number of parameters"),
        _SCALE_KEY,
    ),
    (
        "memorised",
        plots_audit_generalization.memorised,
        "generalization.json",
        Message("Learnt or learnt by heart: the labels as they are, and shuffled"),
        _MEMORISED_KEY,
    ),
    ("over-time", plots_audit_generalization.over_time, "time.json", Message("Score by time"), _TIME_KEY),
    (
        "explanation-images",
        plots_audit_explanation.images,
        "explanation_rows.json",
        Message("Why: what the answers to some pictures rest on; in brackets the truth"),
        _MAP_KEY,
    ),
    (
        "explanation-words",
        plots_audit_explanation.words,
        "explanation_rows.json",
        Message("Why: what the answers to some texts rest on; in brackets the truth"),
        _MAP_KEY,
    ),
    (
        "explanation-columns",
        plots_audit_explanation.columns,
        "explanation_rows.json",
        Message("Why: what the answers to some rows rest on; in brackets the truth"),
        _MAP_KEY,
    ),
    (
        "explanation-importance",
        plots_audit_importance.importance,
        "explanation_importance.json",
        Message("Columns: how much worse answers get without each"),
        _WORTH_KEY,
    ),
    (
        "explanation-curves",
        plots_audit_importance.curves,
        "explanation_checks.json",
        Message("Whether explanations hold: parts taken out and put in"),
        (),
    ),
    (
        "damage",
        plots_audit_robustness.damage,
        "damage.json",
        Message("Damage: the score by strength"),
        _DAMAGE_KEY,
    ),
    ("damage-pictures", plots_audit_robustness.pictures, "pictures.json", Message("Damage: one picture at each strength"), ()),
    (
        "triggers",
        plots_audit_security.triggers,
        "backdoor.json",
        Message("Triggers: the smallest change of a picture that leads into each class, and the smallest of them"),
        _TRIGGERS_KEY,
    ),
    ("attack", plots_audit_robustness.attack, "attack.json", Message("Attack: the score by the largest change"), _ATTACK_KEY),
    ("members", plots_audit_privacy.members, "privacy.json", Message("Privacy: rows named as learnt"), _MEMBERS_KEY),
)
